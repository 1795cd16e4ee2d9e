"""Long lines broken where they may be."""

from __future__ import annotations

from collections.abc import Iterable

COLUMNS = 100


def in_columns(parts: Iterable[str], gap: str = "  ", indent: str = "    ", columns: int = COLUMNS) -> str:
    """Joins parts by `gap`; where a line would be longer than `columns`, the next part begins a new, indented one.

    Args:
        parts: kept whole; one that is too long by itself has a line of its own.
        gap: between two parts of a line; of it, a line that is continued ends with what is not blank.
        indent: of the lines after the first.
        columns: most characters of a line.
    """
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + len(gap) + len(part) <= columns:
            lines[-1] += gap + part
        elif lines:
            lines[-1] += gap.rstrip()
            lines.append(indent + part)
        else:
            lines.append(part)
    return "\n".join(lines)
