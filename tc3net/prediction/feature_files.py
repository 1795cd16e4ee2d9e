"""Feature files of videos that belong to no data set: what a user hands to a model, to a server, or while it grows.

They are read and checked by `data_prep.features`, as the conversion reads what a model is trained on. This is where
tc3net meets raw files; everything behind it gets arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data_prep.features.axes import AXES
from data_prep.features.choices import LAYOUTS, FeatureChoices
from data_prep.features.given import open_given
from data_prep.features.growing import JoinedFiles
from data_prep.features.readers import CHANNEL_ORDERS, MISSING
from data_prep.features.rows import as_float32
from tc3net.common.config import option
from tc3net.common.errors import UserError
from tc3net.data.streams import RGB_FLOW, Streams


@dataclass(frozen=True)
class FileChoices:
    """What feature files do not say themselves; the flags of the conversion."""

    feature_axes: str = option(
        AXES[0], "Where crops are in [crops, s, D] or [s, crops, D], if all videos leave it open.", choices=AXES
    )
    channel_order: str = option(
        CHANNEL_ORDERS[0], "Which stream comes first in arrays that hold both.", choices=CHANNEL_ORDERS
    )
    feature_layout: str = option(
        LAYOUTS[0], "Kind and arrangement of the files in a folder, where they leave it open.", choices=LAYOUTS
    )
    feature_key: str = option("", "Name of the array in files of several; or one of each stream, with commas.")
    cut_streams: bool = option(False, "Cut streams that differ by one or two rows to the shortest one.")
    missing_stream: str = option(
        MISSING[0], "Videos that lack a stream: refused, or that stream is zero in them.", choices=MISSING
    )


@dataclass(frozen=True)
class FeatureFiles:
    """The files of some videos, in one order: of each its rgb and its flow file, or one with all streams.

    Attributes:
        rgb, flow: as many of each; or folders, files with many videos, patterns, lists of files.
        joint: instead of these.
    """

    rgb: Sequence[str] = ()
    flow: Sequence[str] = ()
    joint: Sequence[str] = ()

    def _mixed(self) -> UserError:
        return UserError(
            f"Found {len(self.rgb)} --rgb, {len(self.flow)} --flow and {len(self.joint)} --features files; "
            "expected as many --rgb as --flow files, or only --features files."
        )

    def require_one_kind(self) -> None:
        """Raises unless there are rgb and flow, or joint features, and not both.

        Raises:
            UserError: says how many there are.
        """
        if bool(self.joint) == bool(self.rgb or self.flow) or bool(self.rgb) != bool(self.flow):
            raise self._mixed()

    def by_video(self) -> list[tuple[str, ...]]:
        """The one or two files of each video.

        Raises:
            UserError: no files, rgb and flow that differ in number, or both kinds.
        """
        if bool(self.joint) == bool(self.rgb or self.flow) or len(self.rgb) != len(self.flow):
            raise self._mixed()
        return [(path,) for path in self.joint] or list(zip(self.rgb, self.flow))


def read_videos(files: FeatureFiles, streams: Streams, choices: FileChoices = FileChoices()) -> dict[str, np.ndarray]:
    """Features [s, ΣD] float32 by video id, the streams in order; `describe_and_read` without the words."""
    return describe_and_read(files, streams, choices)[1]


def describe_and_read(
    files: FeatureFiles, streams: Streams, choices: FileChoices = FileChoices()
) -> tuple[str, dict[str, np.ndarray]]:
    """How the features were understood, in words, and the features [s, ΣD] float32 by video id, the streams in order.

    Args:
        files: whatever `data_prep.features.given.open_given` takes; a single file gives its video its name.
        streams: of the model.
        choices: what the files do not say.

    Raises:
        UserError: no files, or rgb and flow that do not fit together; two videos of one name; a file is absent,
            damaged or not usable, or not of the model's width.
    """
    files.require_one_kind()
    _require_names(files, streams)
    stated = FeatureChoices(
        layout=choices.feature_layout,
        channel_order=choices.channel_order,
        axes=choices.feature_axes,
        key=choices.feature_key or None,
        cut_streams=choices.cut_streams,
        streams=streams.sizes,
        missing_stream=choices.missing_stream,
        sizes_from="the model was trained on features of that size. Extract the features with the same network, or "
        "choose --rgb/--flow or --features to fit.",
    )
    reader, words = open_given(files.joint, files.rgb, files.flow, stated)
    videos = {}
    for video_id in reader.video_ids():
        joint = np.concatenate(reader.read(video_id), axis=1)  # [s, D] of each -> [s, ΣD]
        videos[video_id] = as_float32(reader.where(video_id), joint)
    return words, videos


def _require_names(files: FeatureFiles, streams: Streams) -> None:
    """Refuses files of rgb and flow for a model of other streams."""
    if files.rgb and streams.names != RGB_FLOW:
        raise UserError(
            f"--rgb and --flow found, but the model reads the streams {streams.words()}; expected --features: a file "
            "with all of them side by side, or a folder of files for each stream."
        )


def open_growing(files: FeatureFiles, streams: Streams, choices: FileChoices = FileChoices()) -> JoinedFiles:
    """Files of one video that another program still writes.

    Args:
        files: of one video; they may not exist yet.
        streams: of the model.
        choices: the order of the channels.

    Raises:
        UserError: not the files of one video, or of a kind that cannot be read before it is complete; choices that have
            no meaning for them.
    """
    if (len(files.rgb), len(files.flow), len(files.joint)) not in ((1, 1, 0), (0, 0, 1)):
        found = [*files.joint, *files.rgb, *files.flow]
        raise UserError(f"Found {found} to follow; expected one --features file, or one --rgb and one --flow file.")
    _require_names(files, streams)
    (paths,) = files.by_video()
    default = FileChoices()
    for name in ("feature_axes", "feature_layout", "feature_key", "cut_streams", "missing_stream"):
        value = getattr(choices, name)
        if value != getattr(default, name):
            raise UserError(
                f"--{name}={value} with --follow found; expected a file that grows by rows [segments, dims], without "
                "crops. Drop the flag."
            )
    if len(paths) > 1 and choices.channel_order != CHANNEL_ORDERS[0]:
        raise UserError(
            f"--channel_order={choices.channel_order} found, but rgb and flow are separate; expected it for joint "
            "arrays only. Drop the flag."
        )
    return JoinedFiles(paths, [size for _, size in streams.sizes], choices.channel_order)
