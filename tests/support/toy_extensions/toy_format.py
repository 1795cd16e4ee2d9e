"""An annotation format of somebody's own: a line `video|subset|duration|class@start-end;...` for each video."""

from __future__ import annotations

from pathlib import Path

from data_prep.annotations import AnnotationFormat, AnnotationSet, Instance, VideoRecord, beginning_of, checked_classes
from data_prep.annotations.formats import add_format
from tc3net.common.errors import UserError

BARS = 3


def recognises(path: Path) -> bool:
    first_line = beginning_of(path).partition("\n")[0]
    return first_line.count("|") == BARS


def read(path: Path, subset: str | None) -> AnnotationSet:
    videos = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            video_id, subset_of_it, duration_s, items = line.split("|")
            instances = tuple(map(instance, filter(None, items.split(";"))))
            video = VideoRecord(video_id, subset_of_it, float(duration_s), labels_of(instances), instances, True)
        except ValueError:
            raise UserError(
                f"{path}:{number}: found {line!r}; expected video|subset|duration|class@start-end;... Correct the line."
            ) from None
        videos.append(video)
    classes = sorted(frozenset().union(*(video.present for video in videos)))
    return AnnotationSet(checked_classes(classes, path), tuple(videos))


def instance(item: str) -> Instance:
    label, times = item.split("@")
    start_s, end_s = map(float, times.split("-"))
    return Instance(start_s, end_s, label)


def labels_of(instances: tuple[Instance, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.label for one in instances))


add_format(
    AnnotationFormat(
        name="toy_lines",
        words="toy lines",
        expected="lines video|subset|duration|class@start-end;...",
        recognises=recognises,
        read=read,
    )
)
