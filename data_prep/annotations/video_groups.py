"""What the CSV formats share: lines grouped by video, whose subset and duration all of its lines agree on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data_prep.annotations.tables import Row, Table
from tc3net.common.errors import UserError

DEFAULT_SUBSET = "training"


@dataclass(frozen=True)
class VideoGroup:
    """The lines of one video; `duration_s` is NaN when none of them tells it."""

    video_id: str
    subset: str
    duration_s: float
    rows: tuple[Row, ...]


def group_by_video(table: Table, path: str | Path, subset: str | None) -> tuple[VideoGroup, ...]:
    """Groups a table by its column `video`, in the order in which the videos first occur.

    Args:
        table: with a column `video`, and perhaps `subset` and `duration_s`.
        path: the file, for messages.
        subset: subset of all videos when there is no such column; None: `DEFAULT_SUBSET`.

    Lines without a video, and videos whose lines contradict each other or lack a subset, are among the table's
    mistakes.

    Raises:
        UserError: no line, or both a column and `subset`.
    """
    if "subset" in table.columns and subset is not None:
        raise UserError(
            f"{path}: a column subset and --subset={subset} found; expected one of them. Drop the flag or the column."
        )
    if not table.rows:
        table.mistakes.raise_if_any()
        raise UserError(f"{path}: no lines below the header found; expected at least one video. Add some.")
    groups: dict[str, list[Row]] = {}
    for row in table.rows:
        with table.mistakes.gathered():
            groups.setdefault(row.required("video"), []).append(row)
    found = []
    for video_id, rows in groups.items():
        of_video, duration_s = subset or DEFAULT_SUBSET, math.nan
        if "subset" in table.columns:
            with table.mistakes.gathered():
                of_video = _subset(rows)
        with table.mistakes.gathered():
            duration_s = _duration_s(rows)
        found.append(VideoGroup(video_id, of_video, duration_s, tuple(rows)))
    return tuple(found)


def table_notes(table: Table, subset: str | None) -> tuple[str, ...]:
    """What had to be assumed about a table, and which subset all videos are in, when the file does not say it."""
    in_one = () if "subset" in table.columns else (f"all videos in subset {subset or DEFAULT_SUBSET!r}",)
    return (*table.notes, *in_one)


def without_duration(groups: Sequence[VideoGroup]) -> frozenset[str]:
    """Ids of the videos whose duration the file does not tell."""
    return frozenset(group.video_id for group in groups if math.isnan(group.duration_s))


def _subset(rows: Sequence[Row]) -> str:
    named = [row for row in rows if row.cells["subset"]]
    if not named:
        raise UserError(f"{rows[0].where}: no subset found; expected one for every video. Fill it in.")
    for row in named:
        _require_same(row, named[0], "subset")
    return named[0].cells["subset"]


def _duration_s(rows: Sequence[Row]) -> float:
    known = [(row, value) for row in rows for value in [row.seconds("duration_s")] if value is not None]
    for row, value in known:
        if value != known[0][1]:
            _require_same(row, known[0][0], "duration_s")
    return known[0][1] if known else math.nan


def _require_same(row: Row, first: Row, column: str) -> None:
    if row.cells[column] != first.cells[column]:
        raise UserError(
            f"{row.where}: video {row.cells['video']!r} has {column} {row.cells[column]!r}, but "
            f"{first.cells[column]!r} in {first.where}; expected the same. Correct one of them."
        )
