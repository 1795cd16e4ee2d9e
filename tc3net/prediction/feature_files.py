"""Feature files of videos that belong to no data set: what a user hands to a model, to a server, or while it grows.

They are read and checked by `data_prep.features`, as the conversion reads what a model is trained on. This is where
tc3net meets raw files; everything behind it gets arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.features.axes import AXES
from data_prep.features.growing import JoinedFiles
from data_prep.features.layouts import FeatureChoices, open_files
from data_prep.features.readers import CHANNEL_ORDERS
from data_prep.features.rows import as_float32, check_width
from tc3net.common.config import option
from tc3net.common.errors import UserError


@dataclass(frozen=True)
class FileChoices:
    """What feature files do not say themselves; the flags of the conversion."""

    feature_axes: str = option(
        AXES[0], "Where crops are in [crops, s, D] or [s, crops, D], if all videos leave it open.", choices=AXES
    )
    channel_order: str = option(
        CHANNEL_ORDERS[0], "Which stream comes first in arrays that hold both.", choices=CHANNEL_ORDERS
    )


@dataclass(frozen=True)
class FeatureFiles:
    """The files of some videos, in one order: of each its rgb and its flow file, or one with both streams.

    Attributes:
        rgb, flow: as many of each.
        joint: instead of these.
    """

    rgb: Sequence[str] = ()
    flow: Sequence[str] = ()
    joint: Sequence[str] = ()

    def by_video(self) -> list[tuple[str, ...]]:
        """The one or two files of each video.

        Raises:
            UserError: no files, rgb and flow that differ in number, or both kinds.
        """
        if bool(self.joint) == bool(self.rgb or self.flow) or len(self.rgb) != len(self.flow):
            raise UserError(
                f"Found {len(self.rgb)} --rgb, {len(self.flow)} --flow and {len(self.joint)} --features files; "
                "expected as many --rgb as --flow files, or only --features files."
            )
        return [(path,) for path in self.joint] or list(zip(self.rgb, self.flow))


def read_videos(files: FeatureFiles, dim: int, choices: FileChoices = FileChoices()) -> dict[str, np.ndarray]:
    """Features [s, 2D] float32 by video id, rgb first; a video is named after its first file.

    Args:
        files: one video each: .npy, .npz or HDF5 files of [s, D] per stream or [s, 2D] with both, or with a third axis
            of crops, over which the mean is taken; .npz and HDF5 files with both streams may hold an array for each.
        dim: D of the model.
        choices: what the files do not say.

    Raises:
        UserError: no files, or rgb and flow that do not fit together; two videos of one name; a file is absent,
            damaged or not usable, or not of the model's width.
    """
    paths: dict[str, tuple[Path, ...]] = {}
    for some in files.by_video():
        video_id = Path(some[0]).stem
        if video_id in paths:
            raise UserError(f"Two feature files name the video {video_id!r} ({some[0]}); rename one.")
        paths[video_id] = tuple(map(Path, some))
    reader = open_files(paths, FeatureChoices(channel_order=choices.channel_order, axes=choices.feature_axes))
    videos = {}
    for video_id, some_paths in paths.items():
        rgb, flow = reader.read(video_id)
        joint = np.concatenate([rgb, flow], axis=1)  # 2 x [s, D] -> [s, 2D]
        where = " and ".join(map(str, some_paths))
        if files.joint:
            check_width(where, joint.shape, 2 * dim)
        else:
            check_width(where, rgb.shape, dim)
        videos[video_id] = as_float32(where, joint)
    return videos


def open_growing(files: FeatureFiles, width: int, choices: FileChoices = FileChoices()) -> JoinedFiles:
    """Files of one video that another program still writes.

    Args:
        files: of one video; they may not exist yet.
        width: 2D of the model.
        choices: the order of the channels.

    Raises:
        UserError: not the files of one video, or of a kind that cannot be read before it is complete; choices that have
            no meaning for them.
    """
    if (len(files.rgb), len(files.flow), len(files.joint)) not in ((1, 1, 0), (0, 0, 1)):
        found = [*files.joint, *files.rgb, *files.flow]
        raise UserError(f"Found {found} to follow; expected one --features file, or one --rgb and one --flow file.")
    (paths,) = files.by_video()
    if choices.feature_axes != AXES[0]:
        raise UserError(
            f"--feature_axes={choices.feature_axes} with --follow found; expected a file that grows by rows [segments, "
            "dims], without crops. Drop the flag."
        )
    if len(paths) > 1 and choices.channel_order != CHANNEL_ORDERS[0]:
        raise UserError(
            f"--channel_order={choices.channel_order} found, but rgb and flow are separate; expected it for joint "
            "arrays only. Drop the flag."
        )
    return JoinedFiles(paths, width, choices.channel_order)
