"""No table and no line is lost to a terminal that is not UTF-8."""

from __future__ import annotations

import io
import sys

import pytest

from tc3net.terminal.encoding import write_every_sign


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_every_sign_is_written(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [io.BytesIO(), io.BytesIO()]
    for name, file in zip(("stdout", "stderr"), files):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(file, encoding=encoding))
    write_every_sign()
    text = "12.3 ± 0.4  − 1 → η ü 跳 \udcc3 🏃"
    print(text.replace("\udcc3", "") if encoding == "utf-8" else text)
    print("Δ", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    written = files[0].getvalue().decode(encoding)
    expected = {
        "ascii": "12.3 + 0.4  - 1 > eta u \\u8df3 \\udcc3 \\U0001f3c3\n",
        "latin-1": "12.3 ± 0.4  - 1 > eta ü \\u8df3 \\udcc3 \\U0001f3c3\n",
        "utf-8": "12.3 ± 0.4  − 1 → η ü 跳  🏃\n",
    }
    assert written == expected[encoding]
    assert files[1].getvalue().decode(encoding) == {"utf-8": "Δ\n"}.get(encoding, "D\n")


def test_a_stream_that_is_no_file_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    write_every_sign()
    print("±")
