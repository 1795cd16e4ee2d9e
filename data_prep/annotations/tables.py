"""Tables as spreadsheets export them: CSV with a header line, read strictly, so that no column is silently ignored."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from data_prep.annotations import beginning_of
from tc3net.common.errors import UserError

_DELIMITERS = (",", ";", "\t")


@dataclass(frozen=True)
class Row:
    """One line of a table: column -> text without surrounding blanks, "" where the cell is empty or not there."""

    where: str
    cells: Mapping[str, str]

    def required(self, column: str) -> str:
        """The cell's text.

        Raises:
            UserError: it is empty.
        """
        if not self.cells[column]:
            raise UserError(f"{self.where}: no {column} found; expected one in every line. Fill it in.")
        return self.cells[column]

    def number(self, column: str) -> float | None:
        """The cell as a number; None where it is empty or the table has no such column.

        Raises:
            UserError: it is not a finite number.
        """
        text = self.cells.get(column, "")
        if not text:
            return None
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise UserError(f"{self.where}: {column} is {text!r}; expected a number such as 12.5. Correct the cell.")
        return value

    def whole(self, column: str) -> int | None:
        """The cell as a whole number of at least 0; None where it is empty or the table has no such column.

        Raises:
            UserError: it is anything else.
        """
        value = self.number(column)
        if value is None:
            return None
        if value < 0 or value != int(value):
            raise UserError(
                f"{self.where}: {column} is {self.cells[column]!r}; expected a whole number, at least 0. Correct the "
                "cell."
            )
        return int(value)


@dataclass(frozen=True)
class Table:
    """The columns of a table, in file order, and its lines without the empty ones."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def columns_of(path: Path) -> tuple[str, ...]:
    """Column names in the first line of a file, lower case; () where it is no table."""
    beginning = beginning_of(path)
    if beginning.lstrip()[:1] in ("{", "["):  # JSON, of which a line may hold a column's name between its commas
        return ()
    first = next(iter(beginning.splitlines()), "")
    return _columns(first, _delimiter(first))


def read_table(path: str | Path, required: Collection[str], optional: Collection[str]) -> Table:
    """Reads a table separated by commas, semicolons or tabs.

    Args:
        path: the file, UTF-8 with or without byte order mark.
        required: columns that must be there, in any order; names are compared in lower case.
        optional: columns that may be there.

    Raises:
        UserError: the file cannot be read, or a column is missing, repeated or unknown, or a line has too many cells.
    """
    text = _text(path)
    first = next(iter(text.splitlines()), "")
    delimiter = _delimiter(first)
    columns = _columns(first, delimiter)
    expected = f"expected the columns {', '.join(required)}" + (
        f" and, if you like, {', '.join(optional)}" if optional else ""
    )
    missing = [name for name in required if name not in columns]
    if missing:
        raise UserError(f"{path}:1: no column {missing[0]} found in {first!r}; {expected}. Correct the first line.")
    for name in columns:
        if columns.count(name) > 1 or (name not in required and name not in optional):
            what = "repeated" if columns.count(name) > 1 else "unknown"
            raise UserError(f"{path}:1: {what} column {name!r} found; {expected}. Rename or delete the column.")
    rows = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    next(reader)
    try:
        for values in reader:
            cells = [value.strip() for value in values]
            where = f"{path}:{reader.line_num}"
            if len(cells) > len(columns) and any(cells[len(columns) :]):
                raise UserError(
                    f"{where}: {len(cells)} cells found; expected {len(columns)}. Put quotes around text that holds "
                    f"{delimiter!r}."
                )
            if any(cells):
                # Cells left out at the end of a line are empty.
                rows.append(Row(where, {name: cells[i] if i < len(cells) else "" for i, name in enumerate(columns)}))
    except csv.Error as error:
        raise UserError(
            f"{path}:{reader.line_num}: not readable as CSV ({error}); {expected}. Export it again."
        ) from None
    return Table(columns, tuple(rows))


def _text(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); expected a CSV table. Check the path.") from None
    except UnicodeDecodeError:
        raise UserError(
            f"{path}: not UTF-8 text; expected a CSV table. Export it from the spreadsheet as CSV, encoding UTF-8."
        ) from None


def _delimiter(first_line: str) -> str:
    return max(_DELIMITERS, key=first_line.count)


def _columns(first_line: str, delimiter: str) -> tuple[str, ...]:
    return tuple(name.strip().lower() for name in next(csv.reader([first_line], delimiter=delimiter), []))
