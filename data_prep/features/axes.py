"""The order of an array's axes: [segments, dims], or with a third axis of crops, over which the mean is taken.

Two 3-D orders are in use, and one array alone does not say which it has. All videos together usually do: they have the
same number of crops, and different numbers of segments.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tc3net.common.errors import UserError

AXES = ("auto", "crops_first", "crops_last")


@dataclass(frozen=True)
class Axes:
    """How the arrays of a data set are laid out.

    Attributes:
        crop_axis: axis of a 3-D array that holds the crops; None when the data set has no 3-D arrays.
        crops: its size, the same in all videos.
    """

    crop_axis: int | None = None
    crops: int = 1

    def describe(self) -> str:
        """What is done about the crops, in words; empty when nothing is."""
        if self.crop_axis is None or self.crops == 1:
            return ""
        return f"mean over {self.crops} crops ({'first' if self.crop_axis == 0 else 'second'} axis)"

    def segments(self, shape: tuple[int, ...], where: str) -> int:
        """Number of segments of an array with this shape.

        Raises:
            UserError: it is neither 2-D nor 3-D with the data set's number of crops.
        """
        self._check(shape, where)
        return shape[0] if len(shape) == 2 else shape[1 - (self.crop_axis or 0)]

    def rows(self, values: np.ndarray, where: str) -> np.ndarray:
        """[s, D], [crops, s, D] or [s, crops, D] -> [s, D], the mean over the crops.

        The mean is computed in float64 and returned in float32, or in float64 for float64 arrays.

        Raises:
            UserError: see `segments`; or several crops that are not floating point.
        """
        self._check(values.shape, where)
        if values.ndim == 2:
            return values
        assert self.crop_axis is not None  # checked above
        if self.crops == 1:
            return values.take(0, axis=self.crop_axis)
        if values.dtype.kind != "f":
            raise UserError(f"{where}: {values.dtype} values found; expected floating point. Extract them again.")
        dtype = np.float64 if values.dtype.itemsize > 4 else np.float32
        return values.mean(axis=self.crop_axis, dtype=np.float64).astype(dtype)

    def _check(self, shape: tuple[int, ...], where: str) -> None:
        if len(shape) == 2 or (len(shape) == 3 and self.crop_axis is not None and shape[self.crop_axis] == self.crops):
            return
        expected = "[segments, dims]"
        if self.crop_axis is not None:
            expected += (
                f" or [{self.crops}, segments, dims]" if self.crop_axis == 0 else f" or [segments, {self.crops}, dims]"
            )
        raise UserError(
            f"{where}: shape {list(shape)} found; expected {expected} as in the other videos. Pool the features over "
            "space, save one row per segment, and the same number of crops (if any) in every video."
        )


def decide_axes(shapes: Iterable[tuple[int, ...]], choice: str, where: str) -> Axes:
    """Finds out from the shapes of many videos which axis is which.

    Args:
        shapes: shapes of the data set's arrays, at best of videos of different lengths.
        choice: one of `AXES`; "auto" looks at the shapes.
        where: names the features, for the message.

    Raises:
        UserError: the shapes allow both orders, or contradict the choice.
    """
    shapes_3d = sorted({shape for shape in shapes if len(shape) == 3})
    if not shapes_3d:
        return Axes()
    first, second = ({shape[axis] for shape in shapes_3d} for axis in (0, 1))
    sizes = {"crops_first": first, "crops_last": second}
    possible = [name for name, found in sizes.items() if len(found) == 1]
    # One row of many crops is no video, while [1, segments, dims] is how networks return a batch of one.
    if choice == "auto" and first == {1}:
        possible = ["crops_first"]
    if choice != "auto":
        possible = [name for name in possible if name == choice]
    if len(possible) == 1:
        return Axes(0 if possible[0] == "crops_first" else 1, min(sizes[possible[0]]))
    found = ", ".join(str(list(shape)) for shape in shapes_3d[:3]) + (", ..." if len(shapes_3d) > 3 else "")
    if not possible:
        raise UserError(
            f"{where}: arrays of shape {found} found; expected the same number of crops in every video"
            f"{'' if choice == 'auto' else f' (--feature_axes={choice})'}. Save one row per segment: [segments, dims]."
        )
    raise UserError(
        f"{where}: arrays of shape {found} found, which can be [crops, segments, dims] or [segments, crops, dims]; "
        "expected to see which. Add --feature_axes=crops_first or --feature_axes=crops_last."
    )
