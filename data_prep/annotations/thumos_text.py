"""THUMOS14's official text files: a file per class and subset, `video start end` per line, in seconds.

`<Class>_val.txt` is about the subset "validation", `<Class>_test.txt` about "test"; `Ambiguous_*.txt` holds the
intervals that are not scored. The files name only videos that are annotated in time, and no durations.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from pathlib import Path

from data_prep.annotations.records import AnnotationFormat, AnnotationSet, Instance, VideoRecord, checked_classes
from tc3net.common.errors import Mistakes, UserError
from tc3net.intervals.activitynet_json import AMBIGUOUS

_FILE = re.compile(r"(?P<label>.+)_(?P<subset>val|test)\.txt")
_SUBSETS = {"val": "validation", "test": "test"}


def class_files(folder: Path) -> dict[Path, tuple[str, str]]:
    """Files of classes in a folder and its subfolders -> (class, subset); Ambiguous counts as a class."""
    matches = {path: _FILE.fullmatch(path.name) for path in sorted(folder.rglob("*.txt"))}
    return {path: (match["label"], _SUBSETS[match["subset"]]) for path, match in matches.items() if match}


def is_thumos_text(folder: Path) -> bool:
    """Whether the folder holds a class's file; W-TALC's folders hold Ambiguous_test.txt alone."""
    return any(label != AMBIGUOUS for label, _ in class_files(folder).values())


def read_thumos_text(folder: str | Path) -> AnnotationSet:
    """Reads all class files in a folder and its subfolders; videos are sorted by subset and name.

    A video of which only ambiguous intervals are known has unknown instances: nothing says which classes occur in it.

    Args:
        folder: the folder.

    Raises:
        UserError: no class file is there, a line has the wrong form, or a video is in both subsets.
    """
    files = class_files(Path(folder))
    classes = sorted({label for label, _ in files.values()} - {AMBIGUOUS})
    if not classes:
        raise UserError(
            f"{folder}: no files such as BaseballPitch_val.txt or BaseballPitch_test.txt found; expected THUMOS14's, "
            "one per class. Check --annotations."
        )
    subsets: dict[str, str] = {}
    instances: dict[str, list[Instance]] = defaultdict(list)
    ambiguous: dict[str, list[tuple[float, float]]] = defaultdict(list)
    mistakes = Mistakes(folder)
    for path, (label, subset) in files.items():
        for where, video_id, start_s, end_s in _lines(path, mistakes):
            if subsets.setdefault(video_id, subset) != subset:
                mistakes.add(
                    f"{where}: video {video_id!r} is in {subset}, but also in {subsets[video_id]}; expected one of "
                    "them. Fetch the files again."
                )
            if label == AMBIGUOUS:
                ambiguous[video_id].append((start_s, end_s))
            else:
                instances[video_id].append(Instance(start_s, end_s, label))
    mistakes.raise_if_any()
    videos = tuple(
        VideoRecord(
            video_id=video_id,
            subset=subset,
            duration_s=math.nan,
            labels=tuple(dict.fromkeys(item.label for item in instances[video_id])),
            instances=tuple(instances[video_id]),
            instances_known=bool(instances[video_id]),
            ambiguous=tuple(ambiguous[video_id]),
        )
        for video_id, subset in sorted(subsets.items(), key=lambda item: (item[1] == "test", item[0]))
    )
    return AnnotationSet(checked_classes(classes, folder), videos, frozenset(subsets))


def _lines(path: Path, mistakes: Mistakes) -> list[tuple[str, str, float, float]]:
    found = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); expected text. Fetch the file again.") from None
    for number, line in enumerate(lines, start=1):
        fields = line.split()
        if not fields:
            continue
        try:
            video_id, start_s, end_s = fields[0], *map(float, fields[1:])
        except ValueError:
            mistakes.add(f"{path}:{number}: found {line!r}; expected `video start end`. Correct the line.")
            continue
        found.append((f"{path}:{number}", video_id, start_s, end_s))
    return found


THUMOS_TEXT = AnnotationFormat(
    name="thumos_text",
    words="THUMOS14 text files",
    expected="THUMOS14's <Class>_val.txt or <Class>_test.txt",
    recognises=is_thumos_text,
    read=lambda path, _: read_thumos_text(path),
    is_folder=True,
)
