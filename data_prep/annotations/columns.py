"""The first lines of a table: what separates its columns, and which columns are meant by the names people give them."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from data_prep.annotations.records import beginning_of

_DELIMITERS = (",", ";", "\t")
# Spreadsheets are told the delimiter so, and leave the line in the file.
_SEPARATOR_LINE = re.compile(r'"?sep=(?P<delimiter>[,;\t|])"?\s*', re.IGNORECASE)
_UNIT = re.compile(r"_*[(\[](s|sec|secs|seconds)[)\]]$")
# Our name of a column -> what others call it, in the form of `_plain`.
_USUAL: dict[str, tuple[str, ...]] = {
    "video": ("video_id", "videoid", "video_name", "videoname", "vid", "youtube_id", "file", "filename", "file_name"),
    "start_s": (
        "start", "start_time", "starttime", "start_sec", "start_seconds", "t_start", "tstart", "time_start", "begin",
        "begin_s", "begin_time", "from", "segment_start",
    ),
    "end_s": (
        "end", "end_time", "endtime", "end_sec", "end_seconds", "t_end", "tend", "time_end", "stop", "stop_s",
        "stop_time", "to", "segment_end",
    ),
    "class": ("label", "class_name", "classname", "label_name", "action", "activity", "category", "behavior",
              "behaviour", "event"),
    "subset": ("split", "set", "partition"),
    "duration_s": ("duration", "video_duration", "duration_sec", "duration_seconds"),
    "count": ("num_instances", "number_of_instances"),
}  # fmt: skip
_OURS = {name: ours for ours, names in _USUAL.items() for name in (ours, *names)}
TEXT_COLUMNS = frozenset({"video", "class", "subset"})
_IN_ANOTHER_UNIT = (
    (re.compile(r"frame"), "frames; expected seconds: divide them by the frames per second"),
    (re.compile(r"(^|_)(ms|msec|milliseconds?)$"), "milliseconds; expected seconds: divide them by 1000"),
)


@dataclass(frozen=True)
class Header:
    """How a table begins.

    Attributes:
        lines: how many lines come before its rows.
        delimiter: between its cells.
        written: the columns' names as they are written, in file order.
        columns: the same by our names where they are usual ones, in lower case.
    """

    lines: int
    delimiter: str
    written: tuple[str, ...]
    columns: tuple[str, ...]

    def renamed(self) -> str:
        """Which columns are read under which names, in words; "" where they are called so."""
        pairs = [f"{name} as {ours}" for name, ours in zip(self.written, self.columns) if name.lower() != ours]
        return f"column{'s' * (len(pairs) > 1)} {', '.join(pairs)}" if pairs else ""

    def problems(self, required: Collection[str], optional: Collection[str]) -> list[str]:
        """What is missing, repeated or not known, one phrase each."""
        found = [f"no column {name} found" for name in required if name not in self.columns]
        for name in dict.fromkeys(self.columns):
            written = [w for w, column in zip(self.written, self.columns) if column == name]
            if name not in required and name not in optional:
                unit = next((words for pattern, words in _IN_ANOTHER_UNIT if pattern.search(name)), "")
                found.append(f"unknown column {written[0].lower()!r} found" + (f" ({unit})" if unit else ""))
            elif len(set(map(str.lower, written))) > 1:
                found.append(f"columns {' and '.join(map(repr, written))} found, which mean the same")
            elif len(written) > 1:
                found.append(f"repeated column {name!r} found")
        return found


def _plain(name: str) -> str:
    return _UNIT.sub("", re.sub(r"[\s\-./]+", "_", name.strip().lower())).strip("_")


def header_of(text: str) -> Header:
    """Takes the beginning of a table apart; a text that is none has columns that nobody knows.

    Args:
        text: at least its first lines.
    """
    lines = text.splitlines()[:2]
    separator = _SEPARATOR_LINE.fullmatch(lines[0]) if lines else None
    skipped = 1 if separator else 0
    line = lines[skipped] if len(lines) > skipped else ""
    delimiter = separator["delimiter"] if separator else max(_DELIMITERS, key=line.count)
    try:
        written = tuple(name.strip() for name in next(csv.reader([line], delimiter=delimiter), []))
    except csv.Error:
        written = ()
    return Header(
        skipped + 1, delimiter, written, tuple(_OURS.get(_plain(name), name.strip().lower()) for name in written)
    )


def columns_of(path: Path) -> tuple[str, ...]:
    """Names of the columns of a file, see `Header.columns`; () where it is no table."""
    beginning = beginning_of(path)
    if beginning.lstrip()[:1] in ("{", "["):  # JSON, of which a line may hold a column's name between its commas
        return ()
    return header_of(beginning).columns


def without_names(path: Path) -> str:
    """What is wrong with a table whose first line names no videos, and the cure; "" where the file is no table."""
    beginning = beginning_of(path)
    first = next(iter(beginning.splitlines()), "")
    if path.is_dir() or not first.strip() or beginning.lstrip()[:1] in ("{", "["):
        return ""
    named = [name for name in header_of(beginning).columns if name in _USUAL]
    begins = f"begins with {first[:60]!r}"
    if named and "video" not in named:
        return (
            f"{begins}; expected a table with a column video (or video_id) beside {', '.join(named)}. "
            "Correct the first line."
        )
    blanks = first.split()
    if len(blanks) in (2, 3) and all(word.isdigit() for word in blanks[1:]):
        return (
            f"{begins}, a list as two-stream code has them (video, number of frames, number of the class); expected a "
            "CSV table that names its columns and the classes. Write `video,class,subset` into the first line, and a "
            "line such as `jump_001,Jump,training` for each video below it (docs/own-data.md)."
        )
    cells = header_of(beginning).written
    if len(cells) > 1 and any(_is_value(cell) for cell in cells[1:]):
        return (
            f"{begins}, a table without names of columns; expected them in the first line, such as "
            "video,start_s,end_s,class or video,class,count,subset. Write them there, in the order of the columns."
        )
    return ""


def _is_value(cell: str) -> bool:
    return bool(re.fullmatch(r"[+-]?\d+([.,:]\d+)*", cell))
