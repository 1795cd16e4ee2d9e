"""Bars are for terminals: a file gets nothing of them."""

from __future__ import annotations

import io
import sys
import time

import pytest

from tc3net.terminal.progress import progress_bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stream", "shows"), [(io.StringIO(), False), (Terminal(), True)])
def test_only_a_terminal_gets_a_bar(stream: io.StringIO, shows: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    with progress_bar(None, "scoring", "video", total=2) as bar:
        time.sleep(0.55)  # what is done earlier than this shows nothing
        bar.update()
        bar.refresh()
    assert list(progress_bar([1, 2], "matching", "protocol")) == [1, 2]
    assert ("scoring" in stream.getvalue()) == shows
    assert "matching" not in stream.getvalue()
