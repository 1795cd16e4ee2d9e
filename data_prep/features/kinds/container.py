"""What every kind of file gives: arrays at a location, by name where there are several."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from data_prep.features.kinds.pointers import pointer_cure
from data_prep.pickles.records import as_text
from data_prep.pickles.scan import StoredArray
from tc3net.common.errors import UserError
from tc3net.common.storage import local_copy


@dataclass(frozen=True)
class Location:
    """Where one array lies.

    Attributes:
        path: the file.
        node: name of the group or array of a video inside a file that holds many; "" for the whole file.
        key: name of the array among those of the file or group, in any case; None: there is only one.
        crops: where the array lies in several files, one for each crop: all of them, `path` first.
    """

    path: Path
    node: str = ""
    key: str | None = None
    crops: tuple[Path, ...] = ()

    def __str__(self) -> str:
        parts = [part for part in (self.node, self.key) if part]
        return f"{self.path}" + (f" ({'/'.join(parts)})" if parts else "")


class Arrays(Protocol):
    """What an opened location holds: arrays by name; or it is itself one array, which is called ""."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the arrays; () where it is one itself."""

    @property
    def is_array(self) -> bool:
        """Whether it is itself an array."""

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of an array, from its description."""

    def read(self, name: str) -> np.ndarray:
        """The array, in memory."""


def _of_copies(opened: Callable[[Location], AbstractContextManager[Arrays]]) -> Any:
    """The same for remote files too, of which a copy on this machine is read."""

    @contextlib.contextmanager
    def on_this_machine(location: Location) -> Iterator[Arrays]:
        with local_copy(location.path) as path, opened(replace(location, path=path)) as arrays:
            yield arrays

    return on_this_machine


def _members_of_copies(members: Callable[[Path], dict[str, bool]]) -> Callable[[Path], dict[str, bool]]:
    def on_this_machine(file: Path) -> dict[str, bool]:
        with local_copy(file) as path:
            return members(path)

    return on_this_machine


@dataclass(frozen=True)
class Container:
    """A kind of file that arrays lie in.

    Attributes:
        name: what the names of its layouts begin with.
        suffixes: what its files end in, in lower case.
        first_bytes: what its files begin with, for files that end in something else; None: nothing of their own.
        opened: gives what lies at a location; raises UserError that names it, for what is absent or damaged.
        names_arrays: whether a file holds arrays by name.
        members: for kinds of which one file may hold a whole data set: names in a file -> whether each is a group.
        is_common: whether its files are features wherever they lie. Others, such as tables, also lie beside features:
            they count only where there are no common ones, or where they are asked for.
    """

    name: str
    suffixes: tuple[str, ...]
    first_bytes: bytes | None
    opened: Callable[[Location], AbstractContextManager[Arrays]]
    names_arrays: bool = True
    members: Callable[[Path], dict[str, bool]] | None = None
    is_common: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "opened", _of_copies(self.opened))
        if self.members is not None:
            object.__setattr__(self, "members", _members_of_copies(self.members))


class Leaf(Protocol):
    """An array that is read when it is asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape, without reading it."""

    def read(self) -> np.ndarray:
        """The array, in memory."""


@dataclass(frozen=True)
class Held:
    """A leaf that is in memory."""

    values: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """See `Leaf.shape`."""
        return self.values.shape

    def read(self) -> np.ndarray:
        """See `Leaf.read`."""
        return self.values


class Tree:
    """Arrays in groups, as `Arrays`: names with slashes, as paths in an HDF5 file.

    Args:
        leaves: name -> array; "" where the whole is one array.
        node: the group or array that is meant; "" for all.

    Raises:
        KeyError: no such node.
    """

    def __init__(self, leaves: Mapping[str, Leaf], node: str = "") -> None:
        self.is_array = node in leaves
        if self.is_array:
            self._leaves = {"": leaves[node]}
        else:
            below = f"{node}/" if node else ""
            self._leaves = {name[len(below) :]: leaf for name, leaf in leaves.items() if name.startswith(below)}
            if node and not self._leaves:
                raise KeyError(node)
        self.names = () if self.is_array else tuple(name for name in self._leaves if "/" not in name)

    def shape(self, name: str) -> tuple[int, ...]:
        """See `Arrays.shape`."""
        return tuple(self._leaves[name].shape)

    def read(self, name: str) -> np.ndarray:
        """See `Arrays.read`."""
        return self._leaves[name].read()

    def members(self) -> dict[str, bool]:
        """See `Container.members`."""
        return {name.partition("/")[0]: "/" in name for name in self._leaves if name}


def leaves_of(content: Any, prefix: str = "") -> dict[str, Leaf]:
    """The arrays in dictionaries, however nested: {"v1": {"rgb": ...}} -> "v1/rgb".

    Numbers, text and whatever else is no array are left out; a list of numbers or of equally large arrays is one array.

    Raises:
        UserError: a key that is no text or number.
    """
    if isinstance(content, dict):
        found: dict[str, Leaf] = {}
        for key, value in content.items():
            name = str(key) if isinstance(key, int) else as_text(key, "a key of the dictionary")
            found.update(leaves_of(value, f"{prefix}/{name}" if prefix else name))
        return found
    if isinstance(content, StoredArray) or hasattr(content, "read"):
        return {prefix: content}
    array = content if isinstance(content, np.ndarray) else _stacked(content)
    return {} if array is None or array.dtype.kind not in "fiub" else {prefix: Held(array)}


def _stacked(content: Any) -> np.ndarray | None:
    """A list of numbers, of such lists, or of arrays, as one array; None where it is something else."""
    if not isinstance(content, (list, tuple)) or not content:
        return None
    try:
        return np.array([item.read() if isinstance(item, StoredArray) else item for item in content])
    except ValueError:
        return None


def require_there(path: Path) -> None:
    """Raises where a file's name is there and its content is not.

    Raises:
        UserError: a link to what is not there, or a pointer of Git LFS; says how to fetch it.
    """
    cure = pointer_cure(path)
    if cure:
        raise UserError(f"{path}: {cure}")


@contextlib.contextmanager
def naming(location: Location, kind: str) -> Iterator[None]:
    """Turns whatever reading a file of a kind raises into a UserError that names the location."""
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError:
        require_there(location.path)
        raise UserError(f"{location}: no such file; expected features as {kind}. Check the path.") from None
    except Exception as error:
        # Damaged bytes make the zip, NumPy and HDF5 readers fail in any way there is.
        require_there(location.path)
        raise UserError(
            f"{location}: not a complete {kind} file of plain arrays ({type(error).__name__}: {error}); expected "
            "features. Fetch or write the file again."
        ) from None
