"""The folder of NumPy files in which W-TALC and 3C-Net publish annotations: one file per attribute, one row per video.

`videoname`, `subset`, `duration`, `classlist`, `labels_all` (video-level class names), `segments` and `labels` (the
instances). Rows are the only link to the feature file of the same layout, so their order is kept. Names may be bytes
or text, depending on the Python that wrote them. `Ambiguous_test.txt`, where present, holds the intervals that
THUMOS14 excludes from scoring (`videoname start end` per line).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.annotations.records import AnnotationFormat, AnnotationSet, Instance, VideoRecord, checked_classes
from data_prep.pickles.arrays import as_text, load_array
from tc3net.common.errors import Mistakes, UserError
from tc3net.common.names import counted

AMBIGUOUS_FILE = "Ambiguous_test.txt"
_ROW_FILES = ("videoname", "subset", "duration", "labels_all", "segments", "labels")


def read_wtalc_folder(folder: str | Path) -> AnnotationSet:
    """Reads an annotation folder; videos keep the row order.

    The instances of a video are known when its `segments` entry is not empty. The layout cannot say "annotated,
    nothing occurs": THUMOS14's 2172 videos without segments carry video-level labels, so their classes do occur, at
    times nobody wrote down; and 3C-Net emptied the entries of two wrongly annotated test videos for them not to be
    scored.

    Args:
        folder: the folder with `videoname.npy` and the other files.

    Raises:
        UserError: a file is missing or damaged, row counts differ, or an entry has the wrong form.
    """
    folder = Path(folder)
    columns = {name: load_array(folder / f"{name}.npy") for name in _ROW_FILES}
    num_videos = len(columns["videoname"])
    columns["duration"] = _durations(columns["duration"], folder)
    for name, column in columns.items():
        if column.shape != (num_videos,):
            raise UserError(
                f"{folder / name}.npy: shape {list(column.shape)} found; expected one row per video, [{num_videos}], "
                "as in videoname.npy. The files belong to different data sets: fetch the folder again."
            )
    ids = [as_text(value, f"{folder}/videoname.npy").strip() for value in columns["videoname"]]
    ambiguous = _read_ambiguous(folder / AMBIGUOUS_FILE, frozenset(ids))
    mistakes = Mistakes(folder)
    videos = []
    for row, video_id in enumerate(ids):
        with mistakes.gathered():
            of_video = {name: column[row] for name, column in columns.items()}
            videos.append(_video(of_video, f"{folder}: video {video_id!r}", ambiguous))
    mistakes.raise_if_any()
    class_file = folder / "classlist.npy"
    classes = [as_text(value, str(class_file)) for value in load_array(class_file).ravel()]
    return AnnotationSet(checked_classes(classes, class_file), tuple(videos), classes_listed=True)


def _durations(values: np.ndarray, folder: Path) -> np.ndarray:
    if values.dtype.kind not in "fiu":
        raise UserError(
            f"{folder}/duration.npy: {values.dtype} values found; expected seconds as numbers. Fetch the file again."
        )
    return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values  # [n, 1] -> [n]


def _video(row: dict[str, Any], where: str, ambiguous: dict[str, list[tuple[float, float]]]) -> VideoRecord:
    video_id = as_text(row["videoname"], where).strip()
    segments = _items(row["segments"], f"{where}: segments")
    names = _texts(row["labels"], f"{where}: labels")
    if len(segments) != len(names):
        raise UserError(
            f"{where}: {counted(len(segments), 'segment')} but {counted(len(names), 'segment label')} found; expected "
            "as many of each. Correct segments.npy or labels.npy."
        )
    intervals = [_interval(segment, f"{where}: segment {index}") for index, segment in enumerate(segments)]
    return VideoRecord(
        video_id=video_id,
        subset=as_text(row["subset"], where).strip(),
        duration_s=float(row["duration"]),
        labels=tuple(dict.fromkeys(_texts(row["labels_all"], f"{where}: labels_all"))),
        instances=tuple(Instance(start_s, end_s, name) for (start_s, end_s), name in zip(intervals, names)),
        instances_known=bool(intervals),
        ambiguous=tuple(ambiguous.get(video_id, ())),
    )


def _items(value: Any, where: str) -> list[Any]:
    if not isinstance(value, (list, tuple, np.ndarray)):
        raise UserError(f"{where}: found {value!r}; expected a list. Correct the entry.")
    return list(value)


def _texts(value: Any, where: str) -> list[str]:
    return [as_text(item, where).strip() for item in _items(value, where)]


def _interval(value: Any, where: str) -> tuple[float, float]:
    try:
        start_s, end_s = (float(number) for number in value)
    except (TypeError, ValueError):
        raise UserError(f"{where}: found {value!r}; expected [start, end] in seconds. Correct the entry.") from None
    return start_s, end_s


def _read_ambiguous(path: Path, video_ids: Iterable[str]) -> dict[str, list[tuple[float, float]]]:
    """Intervals per video. The file covers the whole test set: lines of videos that the folder lacks are no error."""
    if not path.exists():
        return {}
    intervals: dict[str, list[tuple[float, float]]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 3:
            raise UserError(f"{path}:{number}: found {line!r}; expected `videoname start end`. Correct the line.")
        intervals.setdefault(fields[0], []).append(_interval(fields[1:], f"{path}:{number}"))
    if intervals and not intervals.keys() & set(video_ids):
        raise UserError(
            f"{path}: none of its {counted(len(intervals), 'video')} is in videoname.npy; expected names of this "
            "data set's test videos. Use the file that belongs to this folder, or remove it."
        )
    return intervals


def write_wtalc_folder(folder: Path, annotations: AnnotationSet) -> None:
    """Writes the annotations as a folder that `read_wtalc_folder` reads.

    Args:
        folder: created; must not exist.
        annotations: what to write, one row per video.
    """
    folder.mkdir()
    videos = annotations.videos
    lists: dict[str, list[Any]] = {
        "labels_all": [list(video.labels) for video in videos],
        "segments": [[[item.start_s, item.end_s] for item in video.instances] for video in videos],
        "labels": [[item.label for item in video.instances] for video in videos],
    }
    for name, rows in lists.items():
        column = np.empty(len(videos), np.object_)
        for row, items in enumerate(rows):
            column[row] = items
        np.save(folder / f"{name}.npy", column)
    np.save(folder / "videoname.npy", np.array([video.video_id.encode() for video in videos]))
    np.save(folder / "subset.npy", np.array([video.subset.encode() for video in videos]))
    np.save(folder / "duration.npy", np.array([[video.duration_s] for video in videos]))
    np.save(folder / "classlist.npy", np.array([name.encode() for name in annotations.classes]))


def _single_array(path: Path) -> str:
    if path.is_dir() or path.suffix != ".npy":
        return ""
    return (
        "a single .npy file found; expected all of W-TALC's files: the folder that holds videoname.npy, segments.npy "
        "and the others. Give --annotations that folder."
    )


WTALC_FOLDER = AnnotationFormat(
    name="wtalc_folder",
    words="W-TALC folder of NumPy files",
    expected="W-TALC's videoname.npy",
    recognises=lambda path: (path / "videoname.npy").exists(),
    read=lambda path, _: read_wtalc_folder(path),
    is_folder=True,
    near_miss=_single_array,
)
