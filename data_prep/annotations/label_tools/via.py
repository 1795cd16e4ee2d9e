"""VIA 3, the VGG video annotator: its project (JSON), or its export of annotations (CSV). Times are in seconds.

A temporal segment is an instance; the value of its attribute is the class. Where an attribute has options, the value
names one of them.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_prep.annotations.label_tools.labelled import LabelledVideo, annotation_set, side_table, video_id_of
from data_prep.annotations.records import AnnotationFormat, AnnotationSet, Instance, beginning_of
from tc3net.common.errors import Mistakes, UserError
from tc3net.common.files import encoding_of, read_json
from tc3net.common.names import counted
from tc3net.intervals.json_values import segment_problem

_JSON = 'a project of VIA 3 (JSON with "project", "file", "metadata" and "view")'
_CSV = "an export of VIA 3 (CSV, `# CSV_HEADER = metadata_id,file_list,flags,temporal_coordinates,...`)"
_HEADER = "# CSV_HEADER = "
Found = tuple[str, Any, Any, str]  # media file, temporal coordinates, value of the attribute, where


def read_via_json(path: Path, subset: str | None = None) -> AnnotationSet:
    """Reads a project; its videos without segments are videos in which nothing occurs.

    Raises:
        UserError: it is damaged, or a segment has no class.
    """
    project = read_json(path, "project of VIA 3")
    try:
        names = {str(key): str(entry["fname"]) for key, entry in project["file"].items()}
        views = {str(key): [names[str(file)] for file in view["fid_list"]] for key, view in project["view"].items()}
        options = {str(key): attribute.get("options") or {} for key, attribute in project.get("attribute", {}).items()}
        rows: list[Found] = []
        for key, entry in project["metadata"].items():
            for attribute, value in entry.get("av", {}).items() or [("", "")]:
                text = options.get(str(attribute), {}).get(str(value), value)
                rows += [(file, entry.get("z"), text, f"{path}: {key}") for file in views[str(entry["vid"])][:1]]
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: {error!r} missing or of another form; expected {_JSON}. Save it again.") from None
    return _annotations(path, rows, [file for files in views.values() for file in files[:1]], subset)


def read_via_csv(path: Path, subset: str | None = None) -> AnnotationSet:
    """Reads an export; videos without segments are not in it.

    Raises:
        UserError: it is damaged, or a segment has no class.
    """
    return _annotations(path, list(_csv_rows(path)), [], subset)


def _csv_rows(path: Path) -> Iterator[Found]:
    text = path.read_text(encoding=encoding_of(path))
    header = next(line[len(_HEADER) :].strip().split(",") for line in text.splitlines() if line.startswith(_HEADER))
    lines = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))
    for number, cells in enumerate(csv.reader(io.StringIO(lines, newline="")), 1):
        row = dict(zip(header, cells))
        where = f"{path}: row {number}"
        if not cells:
            continue
        try:
            files, z, values = (json.loads(row[name]) for name in ("file_list", "temporal_coordinates", "metadata"))
            for value in values.values() or [""]:
                yield str(files[0]), z, value, where
        except (KeyError, ValueError, TypeError, IndexError, AttributeError):
            raise UserError(f"{where} is {','.join(cells)[:60]!r}; expected {_CSV}. Export it again.") from None


def _annotations(path: Path, rows: list[Found], files: list[str], subset: str | None) -> AnnotationSet:
    found: dict[str, list[Instance]] = {video_id_of(file): [] for file in files}
    mistakes, left_out = Mistakes(path), 0
    for file, z, value, where in rows:
        instances = found.setdefault(video_id_of(file), [])
        if not z:  # an attribute of the whole file, or a region of a frame
            left_out += 1
            continue
        problem = segment_problem(list(z) if isinstance(z, list) else z)
        if problem:
            mistakes.add(f"{where}: {problem}; expected the two times of a segment. Correct it in VIA.")
        elif not str(value).strip():
            mistakes.add(f"{where}: a segment without a value found; expected a class. Name it in VIA.")
        else:
            instances.append(Instance(float(z[0]), float(z[1]), str(value).strip()))
    mistakes.raise_if_any()
    notes = [f"{counted(left_out, 'value')} without times left out"] if left_out else []
    for instances in found.values():
        instances.sort(key=lambda one: (one.start_s, one.end_s))
    videos = [LabelledVideo(name, instances) for name, instances in found.items()]
    return annotation_set(videos, path, side_table(path), subset, notes)


def _is_project(path: Path) -> bool:
    begins = beginning_of(path).lstrip()
    if not begins.startswith("{") or '"project"' not in begins:
        return False
    try:
        return {"project", "file", "metadata", "view"} <= set(json.loads(path.read_text(encoding="utf-8-sig")))
    except (OSError, ValueError, RecursionError, TypeError):
        return False


def _is_export(path: Path) -> bool:
    return f"{_HEADER}metadata_id,file_list" in beginning_of(path)


VIA_JSON = AnnotationFormat("via_json", "VIA 3 project", _JSON, _is_project, read_via_json, takes_subset=True)
VIA_CSV = AnnotationFormat("via_csv", "VIA 3 CSV", _CSV, _is_export, read_via_csv, takes_subset=True)
