"""Writes what `torch.save` writes, since PyTorch 1.6 and before, without PyTorch: the oracle of what is read."""

from __future__ import annotations

import pickle
import sys
import types
import zipfile
from collections import OrderedDict
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

STORAGES = {
    "float64": "DoubleStorage", "float32": "FloatStorage", "float16": "HalfStorage", "int64": "LongStorage",
    "bfloat16": "BFloat16Storage",
}  # fmt: skip


class Tensor:
    """A tensor as PyTorch describes it: a view of a storage.

    Args:
        storage: its numbers, 1-D; bfloat16 as its uint16 halves.
        shape, strides, offset: of the view, in numbers.
        kind: name of the dtype, where NumPy has none.
    """

    def __init__(self, storage: np.ndarray, shape: tuple, strides: tuple, offset: int = 0, kind: str = "") -> None:
        self.storage, self.shape, self.strides, self.offset = storage, shape, strides, offset
        self.kind = kind or storage.dtype.name

    @classmethod
    def of(cls, values: np.ndarray) -> Tensor:
        strides = tuple(step // values.itemsize for step in np.ascontiguousarray(values).strides)
        return cls(values.ravel(), values.shape, strides)


@contextmanager
def _stand_ins():
    """Modules that pickle finds the names of PyTorch in."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in STORAGES.values():
        setattr(torch, name, type(name, (), {"__module__": "torch", "__qualname__": name}))

    def _rebuild_tensor_v2(*args: Any) -> None:
        raise AssertionError("called")

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    before = {name: sys.modules.get(name) for name in ("torch", "torch._utils")}
    sys.modules.update({"torch": torch, "torch._utils": utils})
    try:
        yield torch, utils
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def save_before_zip(path: Path, content: Any) -> None:
    """The same in the format before PyTorch 1.6: pickles, and then the storages, in whatever order."""
    with path.open("wb") as file:
        for head in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True, "type_sizes": {"int": 4}}):
            pickle.dump(head, file, protocol=2)
        with _pickler((None,)) as (pickler, storages):
            pickler(file, protocol=2).dump(content)
        keys = list(range(len(storages)))[::-1]
        pickle.dump([str(key) for key in keys], file, protocol=2)
        for key in keys:
            file.write(len(storages[key]).to_bytes(8, "little") + storages[key].tobytes())


@contextmanager
def _pickler(more: tuple = ()):
    """A class of picklers for what has tensors in it, and the storages that these have met.

    Args:
        more: what a storage's description ends in.
    """
    storages: list[np.ndarray] = []
    with _stand_ins() as (torch, utils):

        class Stored:
            def __init__(self, tensor: Tensor) -> None:
                self.tensor = tensor

        class Pickler(pickle.Pickler):
            def persistent_id(self, value: Any) -> Any:
                if not isinstance(value, Stored):
                    return None
                storages.append(value.tensor.storage)
                kind = getattr(torch, STORAGES[value.tensor.kind])
                return ("storage", kind, str(len(storages) - 1), "cpu", len(value.tensor.storage), *more)

            def reducer_override(self, value: Any) -> Any:
                if isinstance(value, Tensor):
                    view = (value.offset, value.shape, value.strides, False, OrderedDict())
                    return utils._rebuild_tensor_v2, (Stored(value), *view)
                return NotImplemented

        yield Pickler, storages


def save(path: Path, content: Any, byte_order: str = "little") -> None:
    """Writes tensors in any structure of dictionaries, lists and whatever else can be pickled."""
    with _pickler() as (pickler, storages), zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        with archive.open(f"{path.stem}/data.pkl", "w") as file:
            pickler(file, protocol=2).dump(content)
        archive.writestr(f"{path.stem}/byteorder", byte_order)
        for number, storage in enumerate(storages):
            order = ">" if byte_order == "big" else "<"
            raw = storage.astype(storage.dtype.newbyteorder(order)).tobytes()
            archive.writestr(f"{path.stem}/data/{number}", raw)
        archive.writestr(f"{path.stem}/version", "3\n")
