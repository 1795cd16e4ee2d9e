"""Weights of the I3D networks as arrays with one set of names, whatever file they came from.

A unit `U` of `inception` has `U/kernel` [t, h, w, in, out], `U/beta`, `U/moving_mean`, `U/moving_variance` [out], and
`U/gamma` where a file has one (DeepMind's networks have none, which is the same as ones); the classifier has
`kernel` and `bias`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import numpy as np

from data_prep.extraction.inception import InceptionPlan, Unit
from tc3net.common.errors import UserError

Arrays = Mapping[str, "np.ndarray"]
NORM_EPSILON = 1e-3  # of DeepMind's batch norm, and of the ports of it
_NORM = ("beta", "moving_mean", "moving_variance")
GAMMA = "gamma"
_NAMED = 6
PLANS = {"i3d_rgb": InceptionPlan(in_channels=3), "i3d_flow": InceptionPlan(in_channels=2)}


def expected_shapes(plan: InceptionPlan) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every array that a network has; `gamma` is optional and not among them."""
    shapes: dict[str, tuple[int, ...]] = {}
    for unit in plan.units():
        shapes[f"{unit.name}/kernel"] = (*3 * (unit.size,), unit.in_channels, unit.out_channels)
        for part in _NORM if unit.has_norm else ("bias",):
            shapes[f"{unit.name}/{part}"] = (unit.out_channels,)
    return shapes


def check_weights(arrays: Arrays, plan: InceptionPlan, where: str) -> dict[str, np.ndarray]:
    """The arrays as float32 in the network's order, after every one has been accounted for.

    Args:
        arrays: canonical name -> array; statistics may be [1, 1, 1, 1, out].
        plan: the network.
        where: what is being read, for the message.

    Raises:
        UserError: arrays are missing, left over, of another shape, or not finite.
    """
    shapes = expected_shapes(plan)
    gammas = {f"{unit.name}/{GAMMA}": (unit.out_channels,) for unit in plan.units() if unit.has_norm}
    shapes |= {name: shape for name, shape in gammas.items() if name in arrays}
    missing, left_over = (sorted(set(one) - set(other)) for one, other in ((shapes, arrays), (arrays, shapes)))
    if missing or left_over:
        raise UserError(
            f"{where}: {len(arrays)} arrays found, {len(shapes)} expected for {plan.in_channels} input channels and "
            f"{plan.num_classes} classes; missing: {_some(missing)}; left over: {_some(left_over)}. Check that it is "
            "the network that --network names."
        )
    checked = {}
    for name, shape in shapes.items():
        array = np.asarray(arrays[name], np.float32)
        if len(shape) == 1 and array.size == shape[0] and array.shape[-1:] == shape:
            array = array.reshape(shape)
        if array.shape != shape:
            raise UserError(
                f"{where}: {name} is {list(array.shape)}; expected {list(shape)}. Check that it is the network that "
                "--network names."
            )
        if not np.isfinite(array).all() or (name.endswith("/moving_variance") and array.min() < 0):
            raise UserError(f"{where}: {name} holds values that no trained network has. Fetch the file again.")
        checked[name] = array
    return checked


def fold_norm(arrays: Arrays, unit: Unit) -> tuple[np.ndarray, np.ndarray]:
    """Kernel [t, h, w, in, out] and bias [out] that give what convolution and batch norm give in inference."""
    kernel = arrays[f"{unit.name}/kernel"]
    if not unit.has_norm:
        return kernel, arrays[f"{unit.name}/bias"]
    beta, mean, variance = (arrays[f"{unit.name}/{part}"].astype(np.float64) for part in _NORM)
    scale = arrays.get(f"{unit.name}/{GAMMA}", np.ones_like(beta)) / np.sqrt(variance + NORM_EPSILON)
    return (kernel * scale).astype(np.float32), (beta - mean * scale).astype(np.float32)


def digest(arrays: Arrays) -> str:
    """SHA-256 of names, shapes and values: the same for the same network, whatever file it came from."""
    total = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name], "<f4")
        total.update(f"{name} {list(array.shape)}\n".encode())
        total.update(array.tobytes())
    return total.hexdigest()


def count_values(arrays: Arrays) -> int:
    """Numbers in all arrays: kernels, biases, and both statistics of batch norm."""
    return sum(array.size for array in arrays.values())


def random_weights(plan: InceptionPlan, seed: int) -> dict[str, np.ndarray]:
    """Weights that know nothing, of a scale that keeps activations finite; for trying out the way without weights."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for name, shape in expected_shapes(plan).items():
        if name.endswith("/kernel"):
            arrays[name] = rng.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape).astype(np.float32)
        else:
            arrays[name] = np.full(shape, 1.0 if name.endswith("/moving_variance") else 0.0, np.float32)
    return arrays


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "") or "none"
