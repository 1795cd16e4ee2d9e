"""Long lines are broken between parts, and nothing is lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tc3net.terminal.lines import in_columns


def test_parts_that_fit_stay_on_one_line() -> None:
    assert in_columns(["a", "b"]) == "a  b"
    assert in_columns([]) == ""
    assert in_columns(["ab", "cd", "ef"], gap="; ", columns=8, indent=" ") == "ab; cd;\n ef"


@given(st.lists(st.text("xy", min_size=1, max_size=30)), st.integers(10, 60))
def test_lines_hold_every_part_in_order_and_are_short_where_parts_are(parts: list[str], columns: int) -> None:
    lines = in_columns(parts, columns=columns).split("\n")
    assert " ".join(lines).split() == parts
    for line in lines:
        assert len(line) <= columns or len(line.split()) == 1
