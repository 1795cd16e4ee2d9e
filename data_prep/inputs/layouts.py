"""Recognises which annotation format and feature layout a path holds, and opens it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from data_prep.annotations import AnnotationSet
from data_prep.annotations.activitynet_json import read_activitynet_json
from data_prep.annotations.instance_csv import read_instance_csv
from data_prep.annotations.tables import header_of
from data_prep.annotations.thumos_text import is_thumos_text, read_thumos_text
from data_prep.annotations.video_csv import read_video_csv
from data_prep.annotations.wtalc_folder import read_wtalc_folder
from data_prep.features import ArraySource, FeatureReader
from data_prep.features.arrangements import LAYOUTS, recognise, single_stream
from data_prep.features.axes import AXES, decide_axes
from data_prep.features.object_array import RowArrays
from data_prep.features.readers import CHANNEL_ORDERS, JointReader, SeparateReader
from tc3net.common.errors import UserError

Parser = Callable[[Path, Optional[str]], AnnotationSet]
# Format -> its name in words, and the parser, which is given the path and the subset for tables without that column.
_PARSERS: dict[str, tuple[str, Parser]] = {
    "activitynet_json": ("ActivityNet JSON", lambda path, subset: read_activitynet_json(path)),
    "wtalc_folder": ("W-TALC folder of NumPy files", lambda path, subset: read_wtalc_folder(path)),
    "thumos_text": ("THUMOS14 text files", lambda path, subset: read_thumos_text(path)),
    "instance_csv": ("table of instances", read_instance_csv),
    "video_csv": ("table of videos and classes, no times", read_video_csv),
}
FORMATS = ("auto", *_PARSERS)
_TABLES = ("instance_csv", "video_csv")
_FORMATS_IN_WORDS = (
    "ActivityNet JSON, or a CSV table of instances (video,start_s,end_s,class) or videos (video,class,count)"
)
_CHECK = "Check --annotations, or see docs/own-data.md."
_CHARACTERS_SEEN = 4096
_NEWLINE = "\n"
# Videos whose shapes are looked at to find out the order of the axes.
_SHAPES_SEEN = 200


@dataclass(frozen=True)
class FeatureChoices:
    """What a user can say about features that do not speak for themselves.

    Attributes:
        flow_features: folder or file of the flow stream, where the features' path holds rgb only.
        layout: one of `LAYOUTS`.
        channel_order: one of `CHANNEL_ORDERS`, for joint arrays.
        axes: one of `AXES`, for 3-D arrays.
    """

    flow_features: str | Path | None = None
    layout: str = "auto"
    channel_order: str = "rgb_first"
    axes: str = "auto"

    def __post_init__(self) -> None:
        for flag, value, allowed in (
            ("feature_layout", self.layout, LAYOUTS),
            ("channel_order", self.channel_order, CHANNEL_ORDERS),
            ("feature_axes", self.axes, AXES),
        ):
            if value not in allowed:
                raise UserError(f"{flag} is {value!r}; expected one of {', '.join(allowed)}. Set --{flag}.")


def read_annotations(
    path: str | Path, annotation_format: str = "auto", subset: str | None = None
) -> tuple[AnnotationSet, str]:
    """Reads annotations in whichever format they are, which is recognised by the content.

    Args:
        path: the folder or file.
        annotation_format: one of `FORMATS`; "auto" accepts what is recognised.
        subset: subset of all videos, for tables that have no column for it.

    Returns:
        The annotations and the format in words, with what had to be assumed.

    Raises:
        UserError: nothing at the path, the format is not clear, or the parser refuses it.
    """
    path = Path(path)
    if annotation_format not in FORMATS:
        raise UserError(
            f"annotation_format is {annotation_format!r}; expected one of {', '.join(FORMATS)}. Set "
            "--annotation_format."
        )
    name = _recognised_format(path) if annotation_format == "auto" else annotation_format
    words, parser = _PARSERS[name]
    if subset is not None and name not in _TABLES:
        raise UserError(
            f"{path}: --subset={subset} found, but {words} says itself which subset a video is in; expected the flag "
            "with tables only. Drop it."
        )
    annotations = parser(path, subset)
    return annotations, ", ".join([words, *annotations.notes])


def _recognised_format(path: Path) -> str:
    if path.is_dir():
        found = [
            name
            for name, is_there in (
                ("wtalc_folder", (path / "videoname.npy").exists()),
                ("thumos_text", is_thumos_text(path)),
            )
            if is_there
        ]
        if len(found) == 1:
            return found[0]
        what = "both" if found else "neither"
        raise UserError(
            f"{path}: {what} of W-TALC's videoname.npy and THUMOS14's <Class>_val.txt or <Class>_test.txt found; "
            "expected one of them. "
            + ("Say which: " + " or ".join(f"--annotation_format={name}." for name in found) if found else _CHECK)
        )
    if path.suffix == ".npy":
        raise UserError(
            f"{path}: a single .npy file found; expected an ActivityNet JSON file, a table, or the folder that holds "
            "videoname.npy, segments.npy and the other files. Give --annotations that folder."
        )
    try:
        with open(path, encoding="utf-8-sig") as file:
            start = file.read(_CHARACTERS_SEEN).lstrip()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); expected {_FORMATS_IN_WORDS}. {_CHECK}") from None
    except UnicodeDecodeError:
        raise UserError(
            f"{path}: not UTF-8 text; expected {_FORMATS_IN_WORDS}. Spreadsheets export tables as CSV, encoding UTF-8."
        ) from None
    if start[:1] in ("{", "["):
        return "activitynet_json"
    columns = header_of(path)
    if "video" in columns:
        has_times = [name in columns for name in ("start_s", "end_s")]
        return "instance_csv" if any(has_times) else "video_csv"
    raise UserError(
        f"{path}: begins with {start.partition(_NEWLINE)[0][:40]!r}; expected {_FORMATS_IN_WORDS}, with the names of "
        f"the columns in the first line. {_CHECK}"
    )


def open_features(
    path: str | Path, video_ids: Sequence[str], choices: FeatureChoices = FeatureChoices()
) -> tuple[FeatureReader, str]:
    """Opens features in whichever layout they are; none are read yet, except where a file cannot be read in parts.

    Args:
        path: the folder or file.
        video_ids: the annotated videos in file order; they name the rows of an object array.
        choices: what the files themselves do not say.

    Returns:
        The reader and the layout in words.

    Raises:
        UserError: nothing at the path, the layout is not clear, or a file is damaged.
    """
    path = Path(path)
    notes: list[str] = []
    joint: ArraySource | None
    rgb: ArraySource | None
    flow: ArraySource | None
    _require_layout_for(path, choices)
    if choices.flow_features is not None:
        flow_path = Path(choices.flow_features)
        rgb = _one_stream(path, choices.layout, "rgb", video_ids, notes)
        flow = _one_stream(flow_path, choices.layout, "flow", video_ids, notes)
        joint, words = None, f"rgb; flow in {flow_path}"
    elif path.suffix == ".npy" and not path.is_dir():
        joint, rgb, flow = _rows(path, video_ids, notes), None, None
        words = "W-TALC object array, one row per annotated video"
    else:
        streams = recognise(path, choices.layout)
        joint, rgb, flow, words = streams.joint, streams.rgb, streams.flow, streams.words
    axes = decide_axes(_some_shapes([source for source in (joint, rgb, flow) if source]), choices.axes, str(path))
    if joint is not None:
        words = ", ".join([words, choices.channel_order.replace("_", " "), *filter(None, [axes.describe()]), *notes])
        return JointReader(joint, axes, choices.channel_order), words
    if choices.channel_order != "rgb_first":
        raise UserError(
            f"{path}: --channel_order={choices.channel_order} found, but rgb and flow are separate ({words}); expected "
            "it for joint arrays only. Drop the flag."
        )
    assert rgb is not None and flow is not None
    return SeparateReader(rgb, flow, axes), ", ".join([words, *filter(None, [axes.describe()]), *notes])


def _require_layout_for(path: Path, choices: FeatureChoices) -> None:
    """Refuses a layout that would be ignored, because the paths say another."""
    allowed: tuple[str, ...] = LAYOUTS
    if choices.flow_features is not None:
        allowed = ("auto", *(name for name in LAYOUTS if name.endswith("_folders")))
    elif path.suffix == ".npy" and not path.is_dir():
        allowed = ("auto", "npy_joint")
    if choices.layout not in allowed:
        what = f"{path} and --flow_features={choices.flow_features}" if choices.flow_features else f"{path}"
        raise UserError(
            f"{what}: --feature_layout={choices.layout} does not fit; expected one of {', '.join(allowed)} there. "
            "Correct the flag."
        )


def _one_stream(path: Path, layout: str, stream: str, video_ids: Sequence[str], notes: list[str]) -> ArraySource:
    if path.suffix == ".npy" and not path.is_dir():
        return _rows(path, video_ids, notes)
    return single_stream(path, layout, stream)


def _rows(path: Path, video_ids: Sequence[str], notes: list[str]) -> RowArrays:
    rows = RowArrays(path, video_ids)
    if rows.held_bytes:
        notes.append(
            f"{rows.held_bytes / 1e9:.3g} GB held in memory, since the encoding of {path.name} allows no reading in "
            "parts (np.save it with Python 3 to have it read row by row)"
        )
    return rows


def _some_shapes(sources: Sequence[ArraySource]) -> list[tuple[int, ...]]:
    """Shapes of videos from everywhere in the data set; what is damaged is left for the validation to report."""
    shapes = []
    for source in sources:
        names = source.names()
        for name in names[:: max(1, len(names) // _SHAPES_SEEN)]:
            try:
                shapes.append(source.shape(name))
            except UserError:
                continue
    return shapes
