"""The annotation formats: one table, in which each recognises itself. Nothing else names one.

`--extensions` may add more: docs/extending.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from data_prep.annotations.activitynet_json import ACTIVITYNET_JSON
from data_prep.annotations.instance_csv import INSTANCE_CSV
from data_prep.annotations.label_tools.cvat import CVAT, CVAT_FOLDER
from data_prep.annotations.label_tools.elan import ELAN, ELAN_FOLDER
from data_prep.annotations.label_tools.label_studio import LABEL_STUDIO
from data_prep.annotations.label_tools.labelled import TABLE
from data_prep.annotations.label_tools.via import VIA_CSV, VIA_JSON
from data_prep.annotations.records import AnnotationFormat, AnnotationSet, read_beginning
from data_prep.annotations.thumos_text import THUMOS_TEXT
from data_prep.annotations.tidy import tidied
from data_prep.annotations.video_csv import VIDEO_CSV
from data_prep.annotations.wtalc_folder import WTALC_FOLDER
from tc3net.common.errors import UserError
from tc3net.common.storage import local_copy

AUTO = "auto"
# In the order in which they are offered; which is recognised does not depend on it.
_FORMATS: list[AnnotationFormat] = [
    ACTIVITYNET_JSON, WTALC_FOLDER, THUMOS_TEXT, INSTANCE_CSV, VIDEO_CSV,
    LABEL_STUDIO, CVAT, CVAT_FOLDER, VIA_JSON, VIA_CSV, ELAN, ELAN_FOLDER,
]  # fmt: skip
_CHECK = "Check --annotations, or see docs/own-data.md."


def add_format(new: AnnotationFormat) -> None:
    """Adds a format, for every command that is started after this.

    Raises:
        UserError: there is one of this name.
    """
    if new.name in format_names():
        raise UserError(
            f"annotation format {new.name!r} found twice; expected a name that is not one of "
            f"{', '.join(format_names())}. Give the new one another name, or load its module once."
        )
    _FORMATS.append(new)


def format_names() -> tuple[str, ...]:
    """What `--annotation_format` takes: "auto", which accepts what one format recognises, and the names of all."""
    return (AUTO, *(one.name for one in _FORMATS))


def read_annotations(
    path: str | Path,
    annotation_format: str = AUTO,
    subset: str | None = None,
    class_list: str | Path | None = None,
) -> tuple[AnnotationSet, str]:
    """Reads annotations in whichever format they are, which is recognised by the content.

    Args:
        path: the folder or file.
        annotation_format: one of `format_names`.
        subset: subset of all videos, for formats that leave it open.
        class_list: file with the class names in the order of their ids, in place of the annotations' own.

    Returns:
        The annotations and the format in words, with what had to be assumed.

    Raises:
        UserError: nothing at the path, the format is not clear, or it refuses the files; see also `tidied`.
    """
    if annotation_format not in format_names():
        raise UserError(
            f"annotation_format is {annotation_format!r}; expected one of {', '.join(format_names())}. Set "
            "--annotation_format."
        )
    with local_copy(path, beside=(TABLE,)) as local:
        return _read(local, annotation_format, subset, class_list)


def _read(
    path: Path, annotation_format: str, subset: str | None, class_list: str | Path | None
) -> tuple[AnnotationSet, str]:
    """See `read_annotations`, of a path on this machine."""
    if annotation_format == AUTO:
        chosen = _recognised(path)
    else:
        (chosen,) = (one for one in _FORMATS if one.name == annotation_format)
    if subset is not None and not chosen.takes_subset:
        open_ones = ", ".join(one.name for one in _FORMATS if one.takes_subset)
        raise UserError(
            f"{path}: --subset={subset} found, but {chosen.words} says itself which subset a video is in; expected the "
            f"flag only with formats that may leave it open ({open_ones}). Drop it."
        )
    annotations = tidied(chosen.read(path, subset), path, class_list)
    return annotations, ", ".join([chosen.words, *annotations.notes])


def _recognised(path: Path) -> AnnotationFormat:
    is_folder = path.is_dir()
    possible = [one for one in _FORMATS if one.is_folder == is_folder]
    found = [one for one in possible if path.exists() and one.recognises(path)]
    found = [one for one in found if not one.is_general] or found
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(
            f"{path}: {_both(found)} found; expected one of them. "
            + "Say which: "
            + " or ".join(f"--annotation_format={one.name}." for one in found)
        )
    for one in _FORMATS:
        why = one.near_miss(path)
        if why:
            raise UserError(f"{path}: {why}")
    if is_folder:
        raise UserError(f"{path}: {_neither(possible)} found; expected one of them. {_CHECK}")
    raise UserError(f"{path}: {_found_instead(path, ', or '.join(one.expected for one in possible))}")


def _both(formats: Sequence[AnnotationFormat]) -> str:
    return f"{'both' if len(formats) == 2 else 'all'} of {_joined(formats)}"


def _neither(formats: Sequence[AnnotationFormat]) -> str:
    return f"{'neither' if len(formats) == 2 else 'none'} of {_joined(formats)}"


def _joined(formats: Sequence[AnnotationFormat]) -> str:
    *most, last = (one.expected for one in formats)
    return f"{', '.join(most)} and {last}" if most else last


def _found_instead(path: Path, expected: str) -> str:
    """What a file is that no format recognises, what was expected, and what to do."""
    try:
        begins = read_beginning(path)
    except OSError as error:
        return f"cannot be read ({error.strerror}); expected {expected}. {_CHECK}"
    except UnicodeError:
        return f"not UTF-8 text; expected {expected}. Spreadsheets export tables as CSV, encoding UTF-8."
    first_line = begins.lstrip().partition("\n")[0]
    return f"begins with {first_line[:40]!r}; expected {expected}. {_CHECK}"
