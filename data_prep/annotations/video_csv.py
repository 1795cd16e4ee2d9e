"""A table for those who have no timestamps: `video,class,count`, with `subset` and `duration_s` if you like.

One line per video and class that occurs in it. An empty count says that nobody counted; 0 says that somebody did, and
the class does not occur. A line with nothing but a video says that no class occurs in it. Classes that are not listed
for a video do not occur in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from data_prep.annotations.columns import columns_of
from data_prep.annotations.records import AnnotationFormat, AnnotationSet, VideoRecord, checked_classes
from data_prep.annotations.tables import Row, read_table
from data_prep.annotations.video_groups import VideoGroup, group_by_video, table_notes, without_duration
from tc3net.common.errors import Mistakes, UserError

REQUIRED = ("video", "class")
OPTIONAL = ("count", "subset", "duration_s")


def read_video_csv(path: str | Path, subset: str | None = None) -> AnnotationSet:
    """Reads the table; videos keep the order in which they first occur, and no video has known instances.

    Args:
        path: the file.
        subset: subset of all videos, for tables without that column; None: "training".

    Raises:
        UserError: the table is damaged or contradicts itself, or a count is no whole number.
    """
    table = read_table(path, REQUIRED, OPTIONAL)
    groups = group_by_video(table, path, subset)
    videos = tuple(_record(group, table.mistakes) for group in groups)
    table.mistakes.raise_if_any()
    classes = sorted({row.cells["class"] for row in table.rows if row.cells["class"]})
    notes = table_notes(table, subset) + (() if "count" in table.columns else ("no column count: counts unknown",))
    return AnnotationSet(checked_classes(classes, path), videos, without_duration(groups), notes)


def _record(group: VideoGroup, mistakes: Mistakes) -> VideoRecord:
    counts: dict[str, int | None] = {}
    lines: dict[str, Row] = {}
    for row in group.rows:
        with mistakes.gathered():
            name, count = row.cells["class"], row.whole("count")
            if name or count is not None:
                _check_name(row, group.video_id, lines)
                counts[name], lines[name] = count, row
    return VideoRecord(
        video_id=group.video_id,
        subset=group.subset,
        duration_s=group.duration_s,
        labels=tuple(name for name, count in counts.items() if count != 0),
        instances=(),
        instances_known=False,
        counts={name: count for name, count in counts.items() if count is not None},
    )


def _check_name(row: Row, video_id: str, lines: Mapping[str, Row]) -> None:
    name = row.required("class")
    if name in lines:
        raise UserError(
            f"{row.where}: class {name!r} of video {video_id!r} is also in {lines[name].where}; expected one line with "
            "its count. Merge the lines."
        )


def _is_video_csv(path: Path) -> bool:
    columns = columns_of(path)
    return "video" in columns and "start_s" not in columns and "end_s" not in columns


VIDEO_CSV = AnnotationFormat(
    name="video_csv",
    words="table of videos and classes, no times",
    expected="a CSV table of videos (first line video,class,count)",
    recognises=_is_video_csv,
    read=read_video_csv,
    takes_subset=True,
)
