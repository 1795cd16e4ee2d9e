"""What turns clips into features: a function with the sampling that it wants, the project's own or a user's."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from data_prep.extraction.sampling import Sampling
from tc3net.common.errors import UserError

# [N, frames, H, W, channels], float32 -> [N, D]
Function = Callable[["np.ndarray"], Any]
_MARK = "tc3net_backbone"
UNNAMED = "not named"


@dataclass(frozen=True)
class Backbone:
    """A network that computes one row of features from the frames of one segment.

    Attributes:
        name: of the network.
        function: [N, frames, H, W, channels], float32 in the sampling's range -> [N, D].
        sampling: the frames that it wants.
        weights: what tells these weights from others: a checksum, or a version.
    """

    name: str
    function: Function
    sampling: Sampling = Sampling()
    weights: str = UNNAMED

    def features(self, clips: np.ndarray) -> np.ndarray:
        """Rows of features: [N, crops, frames, H, W, channels] -> [N, D], the mean over the crops.

        Raises:
            UserError: the function gives anything but one finite row for each clip.
        """
        count, num_crops = clips.shape[:2]
        rows = np.asarray(self.function(clips.reshape(-1, *clips.shape[2:])), np.float32)
        if rows.ndim != 2 or len(rows) != count * num_crops or not rows.shape[1]:
            raise UserError(
                f"backbone {self.name}: {list(rows.shape)} found for {count * num_crops} clips; expected [clips, D]. "
                "Correct the function."
            )
        if not np.isfinite(rows).all():
            raise UserError(f"backbone {self.name}: NaN or infinity in its features. Correct the function.")
        return rows.reshape(count, num_crops, -1).mean(axis=1)


def backbone(sampling: Sampling, weights: str) -> Callable[[Function], Function]:
    """Says of a function which frames it wants, for `--backbone=module:function`.

    Args:
        sampling: the frames.
        weights: a name or version of the weights; features of other weights are never mixed with theirs.
    """

    def mark(function: Function) -> Function:
        setattr(function, _MARK, (sampling, weights))
        return function

    return mark


def load_backbone(name: str) -> Backbone:
    """The function that `module:function` names; without `backbone`'s mark it gets I3D's sampling.

    Raises:
        UserError: there is no such module or function.
    """
    module_name, _, function_name = name.partition(":")
    try:
        function = getattr(importlib.import_module(module_name), function_name) if function_name else None
    except (ImportError, ValueError, AttributeError) as error:
        raise UserError(
            f"--backbone={name}: cannot be imported ({error}); expected module:function. Start the command where the "
            "module lies, or put that folder into PYTHONPATH."
        ) from None
    if not callable(function):
        raise UserError(f"--backbone={name}: no function found; expected module:function. Correct the flag.")
    sampling, weights = getattr(function, _MARK, (Sampling(), UNNAMED))
    return Backbone(name, function, sampling, weights)


def with_sampling(backbones: Mapping[str, Backbone], changes: Mapping[str, Any]) -> dict[str, Backbone]:
    """The same networks with other values of their sampling.

    Raises:
        UserError: a value is out of range.
    """
    return {stream: replace(one, sampling=replace(one.sampling, **changes)) for stream, one in backbones.items()}
