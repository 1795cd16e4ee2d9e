"""Tables of numbers (.csv), one per video: a line per segment, with or without a line of column names."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.features.kinds.container import Arrays, Container, Location, Tree, naming

_DELIMITERS = (",", ";", "\t")


@dataclass(frozen=True)
class _Table:
    path: Path
    delimiter: str
    header_lines: int
    index_columns: int
    columns: int

    @property
    def shape(self) -> tuple[int, ...]:
        with open(self.path, encoding="utf-8-sig") as file:
            lines = sum(bool(line.strip()) for line in file)
        return lines - self.header_lines, self.columns - self.index_columns

    def read(self) -> np.ndarray:
        if not self.shape[0]:
            return np.zeros(self.shape, np.float32)
        numbers = range(self.index_columns, self.columns)
        return np.loadtxt(
            self.path,
            np.float32,
            delimiter=self.delimiter,
            skiprows=self.header_lines,
            usecols=list(numbers),
            ndmin=2,
            comments=None,
            encoding="utf-8-sig",
        )


def _described(path: Path) -> _Table:
    with open(path, encoding="utf-8-sig") as file:
        first = file.readline()
    delimiter = max(_DELIMITERS, key=first.count)
    cells = [cell.strip() for cell in next(csv.reader([first], delimiter=delimiter), [])]
    has_names = not all(_is_number(cell) for cell in cells)
    # pandas writes the number of the line into a column without a name
    index_columns = 1 if has_names and len(cells) > 1 and cells[0] in ("", "Unnamed: 0") else 0
    return _Table(path, delimiter, int(has_names), index_columns, len(cells))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


@contextlib.contextmanager
def _open_csv(location: Location) -> Iterator[Arrays]:
    with naming(location, ".csv"):
        yield Tree({"": _described(location.path)}, location.node)


CSV = Container("csv", (".csv",), None, _open_csv, names_arrays=False, is_common=False)
