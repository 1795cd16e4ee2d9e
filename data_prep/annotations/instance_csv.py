"""A table of instances, one per line: `video,start_s,end_s,class`, with `subset` and `duration_s` if you like.

A line with a class but no times says that the class occurs somewhere in the video; a line with nothing but a video says
that nothing occurs in it.
"""

from __future__ import annotations

from pathlib import Path

from data_prep.annotations.columns import columns_of, without_names
from data_prep.annotations.records import AnnotationFormat, AnnotationSet, Instance, VideoRecord, checked_classes
from data_prep.annotations.tables import Row, read_table
from data_prep.annotations.video_groups import VideoGroup, group_by_video, table_notes, without_duration
from tc3net.common.errors import Mistakes, UserError

REQUIRED = ("video", "start_s", "end_s", "class")
OPTIONAL = ("subset", "duration_s")


def read_instance_csv(path: str | Path, subset: str | None = None) -> AnnotationSet:
    """Reads the table; videos keep the order in which they first occur.

    The instances of a video are known unless it has classes and times for none of them.

    Args:
        path: the file.
        subset: subset of all videos, for tables without that column; None: "training".

    Raises:
        UserError: the table is damaged or contradicts itself, or has one time of an instance without the other.
    """
    table = read_table(path, REQUIRED, OPTIONAL)
    groups = group_by_video(table, path, subset)
    videos = tuple(_record(group, table.mistakes) for group in groups)
    table.mistakes.raise_if_any()
    classes = sorted({row.cells["class"] for row in table.rows if row.cells["class"]})
    return AnnotationSet(
        checked_classes(classes, path),
        videos,
        without_duration(groups),
        table_notes(table, subset),
    )


def _record(group: VideoGroup, mistakes: Mistakes) -> VideoRecord:
    found = []
    for row in group.rows:
        with mistakes.gathered():
            found.append(_instance(row))
    instances = tuple(instance for instance in found if instance is not None)
    labels = tuple(dict.fromkeys(row.cells["class"] for row in group.rows if row.cells["class"]))
    return VideoRecord(
        video_id=group.video_id,
        subset=group.subset,
        duration_s=group.duration_s,
        labels=labels,
        instances=instances,
        instances_known=bool(instances) or not labels,
    )


def _instance(row: Row) -> Instance | None:
    start_s, end_s = row.seconds("start_s"), row.seconds("end_s")
    if start_s is None and end_s is None:
        return None
    if start_s is None or end_s is None:
        raise UserError(
            f"{row.where}: {'end_s' if start_s is None else 'start_s'} without the other time found; expected both, or "
            "neither where only the class is known. Fill it in."
        )
    return Instance(start_s, end_s, row.required("class"))


def _is_instance_csv(path: Path) -> bool:
    columns = columns_of(path)
    # One of the two times is enough: the table is meant, and reading says that the other column is missing.
    return "video" in columns and ("start_s" in columns or "end_s" in columns)


INSTANCE_CSV = AnnotationFormat(
    name="instance_csv",
    words="table of instances",
    expected=f"a CSV table of instances (first line {','.join(REQUIRED)})",
    recognises=_is_instance_csv,
    read=read_instance_csv,
    takes_subset=True,
    near_miss=without_names,
)
