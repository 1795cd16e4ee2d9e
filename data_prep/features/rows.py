"""Whether arrays are usable as features: the one place that decides it, for the conversion, new videos and requests.

Every check takes `what`, the array or file in words, as the beginning of its message.
"""

from __future__ import annotations

import numpy as np

from tc3net.common.errors import UserError

# N frames have N - 1 flows, and extractors pad their last segment differently; more is no matter of rounding.
MAX_CUT_ROWS = 2


def check_rows(what: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Raises unless an array of this description holds rows of features.

    Raises:
        UserError: it is not 2-D, or not floating point.
    """
    if len(shape) != 2:
        raise UserError(
            f"{what} has shape {list(shape)}; expected [segments, dims]. "
            "Pool the features over space and save one row per segment."
        )
    if dtype.kind != "f":
        raise UserError(f"{what} holds {dtype}; expected floating point. Extract it again.")


def check_width(what: str, shape: tuple[int, ...], width: int) -> None:
    """Raises unless rows are as wide as those that a model was trained on.

    Args:
        what: see above.
        shape: of the array.
        width: numbers per row that the model takes from this array.

    Raises:
        UserError: another shape than [segments, width].
    """
    if len(shape) != 2 or shape[1] != width:
        raise UserError(
            f"{what}: shape {tuple(shape)} found, [segments, {width}] expected: the model was trained on features of "
            "that size. Extract the features with the same network, or choose --rgb/--flow or --features to fit."
        )


def check_finite(what: str, rows: np.ndarray, first_segment: int = 0) -> None:
    """Raises unless all values are finite.

    Args:
        what: see above.
        rows: [s, width] real numbers.
        first_segment: of the video, where these rows are not its first.

    Raises:
        UserError: NaN or Inf in a row; names the first.
    """
    finite = np.isfinite(rows)
    if finite.all():
        return
    bad = first_segment + np.flatnonzero(~finite.all(axis=1))
    where = f"segment {bad[0]}" if len(bad) == 1 else f"{len(bad)} segments, the first is {bad[0]}"
    raise UserError(
        f"{what}: NaN or Inf in {where}; expected finite numbers. Extract the features of this video again."
    )


def as_float32(what: str, rows: np.ndarray, first_segment: int = 0) -> np.ndarray:
    """Rows as a model takes them, [s, width] float32.

    Args:
        what, rows, first_segment: as for `check_finite`.

    Raises:
        UserError: NaN or Inf in a row, also where a float64 is beyond float32's range.
    """
    with np.errstate(over="ignore"):  # reported below, with the segment
        converted = rows.astype(np.float32, copy=False)
    check_finite(what, converted, first_segment)
    return converted


def check_streams(what: str, rgb: np.ndarray, flow: np.ndarray) -> None:
    """Raises unless both streams hold rows and belong together; their values are not looked at.

    Args:
        what: names the video and its files.
        rgb, flow: what should be [s, D] each, s and D at least 1.

    Raises:
        UserError: a stream fails `check_rows` or is empty; or the shapes differ.
    """
    for stream, values in (("rgb", rgb), ("flow", flow)):
        check_rows(f"{what}: {stream}", values.shape, values.dtype)
        if values.shape[0] == 0 or values.shape[1] == 0:
            raise UserError(
                f"{what}: {stream} is empty (shape {list(values.shape)}); expected at least one segment. "
                "Extract the features again, or leave the video out."
            )
    if rgb.shape != flow.shape:
        differs = "segments" if len(rgb) != len(flow) else "dims"
        raise UserError(
            f"{what}: rgb is {list(rgb.shape)}, flow is {list(flow.shape)}; expected the same number of {differs}. "
            + (_cure_of_lengths(len(rgb), len(flow)) if len(rgb) != len(flow) else "Extract both with networks alike.")
        )


def _cure_of_lengths(rgb_rows: int, flow_rows: int) -> str:
    longer = flow_rows - rgb_rows
    if rgb_rows > MAX_CUT_ROWS and abs(longer - rgb_rows) <= MAX_CUT_ROWS:
        return (
            "Flow is twice as long: its x and y images were counted one by one. Extract flow anew, with x and y of a "
            "frame as one."
        )
    if abs(longer) <= MAX_CUT_ROWS:
        return "A video of N frames has N - 1 flows: --cut_streams cuts both streams to the shorter one."
    return "Extract both streams with the same segments."


def check_features(what: str, rgb: np.ndarray, flow: np.ndarray) -> None:
    """Raises unless both streams are usable.

    Args:
        what: names the video and its files.
        rgb, flow: what should be [s, D] each.

    Raises:
        UserError: see `check_streams` and `check_finite`.
    """
    check_streams(what, rgb, flow)
    check_finite(f"{what}: rgb", rgb)
    check_finite(f"{what}: flow", flow)
