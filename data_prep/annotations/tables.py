"""Tables as spreadsheets export them: CSV with a header line, read strictly, so that no column is silently ignored."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from data_prep.annotations.columns import TEXT_COLUMNS, Header, header_of
from tc3net.common.errors import Mistakes, UserError
from tc3net.common.files import encoding_of
from tc3net.common.storage import path_of

_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+|[0-9:]+:[0-9]+,[0-9]+")
_POINT = re.compile(r"[+-]?[0-9]*\.[0-9]+|[0-9:]+:[0-9]+\.[0-9]+")
_CLOCK = re.compile(r"(?:(?P<hours>[0-9]+):)?(?P<minutes>[0-9]+):(?P<seconds>[0-9]{2}(?:\.[0-9]+)?)")
_MINUTE_S, _HOUR_S = 60, 3600


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        where: file and line, for messages.
        cells: column -> text without surrounding blanks, "" where the cell is empty or not there.
        decimal_comma: whether numbers are written as 12,5.
    """

    where: str
    cells: Mapping[str, str]
    decimal_comma: bool = False

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
        return self._number(column, "")

    def seconds(self, column: str) -> float | None:
        """The cell as seconds, which may be written as mm:ss or hh:mm:ss; None as in `number`.

        Raises:
            UserError: it is neither a finite number nor such a time.
        """
        clock = _CLOCK.fullmatch(self._text(column))
        if clock is None:
            return self._number(column, ", or mm:ss")
        hours, minutes, seconds_s = clock["hours"], int(clock["minutes"]), float(clock["seconds"])
        if seconds_s >= _MINUTE_S or (hours is not None and minutes >= _MINUTE_S):
            raise UserError(
                f"{self.where}: {column} is {self.cells[column]!r}; expected mm:ss or hh:mm:ss with less than 60 "
                "seconds and minutes, or a number of seconds. Correct the cell."
            )
        return int(hours or 0) * _HOUR_S + minutes * _MINUTE_S + seconds_s

    def _text(self, column: str) -> str:
        text = self.cells.get(column, "")
        return text.replace(",", ".") if self.decimal_comma else text

    def _number(self, column: str, or_else: str) -> float | None:
        text = self._text(column)
        if not text:
            return None
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            comma = " (a decimal comma needs semicolons between the cells, and no decimal points elsewhere)"
            raise UserError(
                f"{self.where}: {column} is {self.cells[column]!r}; expected a number such as 12.5{or_else}"
                f"{comma if _COMMA.fullmatch(text) else ''}. Correct the cell."
            )
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
    """A table.

    Attributes:
        columns: their names, in file order.
        rows: its lines without the empty ones.
        mistakes: of its lines; whoever reads the cells adds to them, and raises them at the end.
        notes: what had to be assumed, in words.
    """

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    mistakes: Mistakes
    notes: tuple[str, ...] = ()


def read_table(path: str | Path, required: Collection[str], optional: Collection[str]) -> Table:
    """Reads a table separated by commas, semicolons or tabs.

    Numbers may have decimal commas where semicolons or tabs separate the cells and no number has a decimal point.

    Args:
        path: the file, UTF-8 or, with a byte order mark, UTF-16; a first line `sep=;` is obeyed.
        required: columns that must be there, in any order, under these or the usual names (`columns`), in any case.
        optional: columns that may be there.

    Raises:
        UserError: the file cannot be read, or a column is missing, repeated or unknown. Lines that have too many cells
            are among the table's mistakes.
    """
    text = _text(path)
    header = header_of(text)
    expected = f"expected the columns {', '.join(required)}" + (
        f" and, if you like, {', '.join(optional)}" if optional else ""
    )
    problems = header.problems(required, optional)
    if problems:
        line = next(iter(text.splitlines()[header.lines - 1 :]), "")
        raise UserError(
            f"{path}:{header.lines}: {', '.join(problems)} in {line!r}; {expected}. Rename or delete columns, or "
            "add them."
        )
    mistakes = Mistakes(path)
    lines = _lines(path, text, header, expected, mistakes)
    numbers = [cell for _, cells in lines for name, cell in cells.items() if name not in TEXT_COLUMNS]
    comma = header.delimiter != "," and any(map(_COMMA.fullmatch, numbers)) and not any(map(_POINT.fullmatch, numbers))
    notes = [header.renamed()] if header.renamed() else []
    notes += ["decimal commas"] if comma else []
    notes += ["times as mm:ss or hh:mm:ss"] if any(":" in cell for cell in numbers) else []
    return Table(header.columns, tuple(Row(where, cells, comma) for where, cells in lines), mistakes, tuple(notes))


def _lines(
    path: str | Path, text: str, header: Header, expected: str, mistakes: Mistakes
) -> list[tuple[str, dict[str, str]]]:
    """Place and cells by column, of every line that is not empty."""
    lines = []
    columns = header.columns
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=header.delimiter)
    try:
        for _ in range(header.lines):
            next(reader)
        for values in reader:
            cells = [value.strip() for value in values]
            where = f"{path}:{reader.line_num}"
            if len(cells) > len(columns) and any(cells[len(columns) :]):
                mistakes.add(
                    f"{where}: {len(cells)} cells found; expected {len(columns)}. Put quotes around text that holds "
                    f"{header.delimiter!r}."
                )
            elif any(cells):
                # Cells left out at the end of a line are empty.
                lines.append((where, {name: cells[i] if i < len(cells) else "" for i, name in enumerate(columns)}))
    except csv.Error as error:
        raise UserError(
            f"{path}:{reader.line_num}: not readable as CSV ({error}); {expected}. Export it again."
        ) from None
    return lines


def _text(path: str | Path) -> str:
    try:
        return path_of(path).read_text(encoding=encoding_of(path))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); expected a CSV table. Check the path.") from None
    except UnicodeError:
        raise UserError(
            f"{path}: not UTF-8 text; expected a CSV table. Export it from the spreadsheet as CSV, encoding UTF-8."
        ) from None
