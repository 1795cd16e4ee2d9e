"""The kinds of files that arrays lie in: one table, in which each recognises its files. Nothing else names one.

Files are opened for one read and closed again: a data set may have more videos than a process may have open files, and
what holds nothing open can be handed to another process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from data_prep.features.axes import Axes
from data_prep.features.kinds.container import Arrays, Container, Location, require_there
from data_prep.features.kinds.csv_files import CSV
from data_prep.features.kinds.hdf5 import HDF5
from data_prep.features.kinds.matlab import MAT
from data_prep.features.kinds.numpy_files import NPY, NPZ
from data_prep.features.kinds.pickle_files import PKL, TORCH
from data_prep.features.kinds.videos import extraction_needed, is_video
from tc3net.common.errors import UserError

CONTAINERS = (NPY, NPZ, HDF5, TORCH, PKL, MAT, CSV)


def all_suffixes() -> str:
    """The suffixes of all kinds, in words."""
    *most, last = (suffix for container in CONTAINERS for suffix in container.suffixes)
    return f"{', '.join(most)} or {last}"


def container_of(path: Path) -> Container:
    """The kind of a file, by what it ends in, or else by what it begins with.

    Raises:
        UserError: it is of no kind, or there by name only.
    """
    by_name = container_by_name(path)
    if by_name is not None:
        return by_name
    if is_video(path):
        raise UserError(f"{path}: {extraction_needed('a video file')}")
    require_there(path)
    beginnings = {container: container.first_bytes for container in CONTAINERS if container.first_bytes is not None}
    try:
        with path.open("rb") as file:
            beginning = file.read(max(map(len, beginnings.values())))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); expected features. Check the path.") from None
    for container, first_bytes in beginnings.items():
        if beginning.startswith(first_bytes):
            return container
    raise UserError(f"{path}: begins with {beginning!r}; expected features as {all_suffixes()}. Check the path.")


def container_by_name(path: Path) -> Container | None:
    """The kind of a file by what it ends in; None where that says nothing."""
    return next((container for container in CONTAINERS if path.suffix.lower() in container.suffixes), None)


class LocatedArrays:
    """An `ArraySource` over the locations of its arrays.

    Args:
        locations: video id -> where its array lies.
        what: the arrays in words ("flow features"), for messages.
    """

    def __init__(self, locations: Mapping[str, Location], what: str) -> None:
        self.locations = dict(locations)
        self._what = what
        self._crops = max((len(location.crops) for location in self.locations.values()), default=0)
        self.notes: tuple[str, ...] = (f"mean over {self._crops} crops (a file for each)",) if self._crops else ()

    def names(self) -> list[str]:
        """Ids of the videos, in the order of the locations."""
        return list(self.locations)

    def where(self, video_id: str) -> str:
        """File and name of the array."""
        return str(self._location(video_id))

    def shape(self, video_id: str) -> tuple[int, ...]:
        """See `ArraySource.shape`; of files for each crop, that of the first."""
        with _array(self._location(video_id)) as (arrays, name):
            return arrays.shape(name)

    def read(self, video_id: str) -> np.ndarray:
        """See `ArraySource.read`; the mean of the crops, where each has a file. Objects are refused outside .npy."""
        location = self._location(video_id)
        if not self._crops:
            return _read(location)
        if len(location.crops) != self._crops:
            raise UserError(
                f"{location}: {max(1, len(location.crops))} files found for the crops of video {video_id!r}; expected "
                f"{self._crops}, as for other videos. Add the missing ones, or leave the video out."
            )
        crops = [_read(replace(location, path=path)) for path in location.crops]
        shapes = sorted({crop.shape for crop in crops})
        if len(shapes) > 1:
            raise UserError(
                f"{location}: crops of shapes {', '.join(str(list(shape)) for shape in shapes)} found; expected the "
                "same in all files of a video. Extract its crops again."
            )
        stacked = np.stack(crops)  # crops x [s, D] -> [crops, s, D]
        if stacked.ndim == 4 and stacked.shape[1] == 1:  # of crops as networks return them, [1, s, D]
            stacked = stacked[:, 0]
        return Axes(0, self._crops).rows(stacked, f"{location}")

    def _location(self, video_id: str) -> Location:
        try:
            return self.locations[video_id]
        except KeyError:
            raise UserError(
                f"video {video_id!r}: no {self._what} found; expected an array as the other videos have. Extract them, "
                "or leave the video out."
            ) from None


def array_names(location: Location) -> tuple[str, ...]:
    """Names of the arrays at a location; () where it is itself an array.

    Raises:
        UserError: the file is absent or damaged, or its kind cannot be read here.
    """
    with container_of(location.path).opened(location) as arrays:
        return arrays.names


def array_shapes(location: Location) -> dict[str, tuple[int, ...]]:
    """Name -> shape of the arrays at a location; see `array_names`."""
    with container_of(location.path).opened(location) as arrays:
        return {name: arrays.shape(name) for name in arrays.names}


def _read(location: Location) -> np.ndarray:
    with _array(location) as (arrays, name):
        return arrays.read(name)


@contextmanager
def _array(location: Location) -> Iterator[tuple[Arrays, str]]:
    """The opened location of an array, and its name there."""
    group, _, key = (location.key or "").rpartition("/")
    if group:  # of a name such as resnet/rgb
        location = replace(location, node=f"{location.node}/{group}" if location.node else group, key=key)
    with container_of(location.path).opened(location) as arrays:
        yield arrays, _pick(arrays, location)


def _pick(arrays: Arrays, location: Location) -> str:
    """Name of the array that a location means."""
    names = arrays.names
    if location.key is None:
        if not arrays.is_array and len(names) != 1:
            found = f"{len(names)} arrays found" + (f" ({', '.join(names[:5])})" if names else "")
            choose = f" Or say which is meant: --feature_key={names[0]}." if names else ""
            raise UserError(f"{location}: {found}; expected one. Save one per file.{choose}")
        return names[0] if names else ""
    same = [name for name in names if name == location.key] or [
        name for name in names if name.lower() == location.key.lower()
    ]
    if len(same) != 1:
        found = f"arrays {', '.join(names[:5]) or 'without names'} found"
        raise UserError(f"{location}: {found}; expected one named {location.key}.")
    return same[0]
