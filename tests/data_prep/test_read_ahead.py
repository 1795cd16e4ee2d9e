"""Reading one video ahead changes nothing but the time."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from data_prep.features.read_ahead import ReadAhead
from tc3net.common.errors import UserError


class Numbers:
    """Video "v3" has features full of 3; "v2" is damaged. Remembers what was read, and by which thread."""

    streams = ("rgb", "flow")

    def __init__(self) -> None:
        self.read_ids: list[str] = []
        self.threads: set[int] = set()

    def video_ids(self) -> list[str]:
        return [f"v{i}" for i in range(5)]

    def num_segments(self, video_id: str) -> int:
        return int(video_id[1:])

    def read(self, video_id: str) -> tuple[np.ndarray, np.ndarray]:
        self.read_ids.append(video_id)
        self.threads.add(threading.get_ident())
        if video_id == "v2":
            raise UserError("v2 is damaged")
        return np.full((1, 1), int(video_id[1:])), np.zeros((1, 1))


def test_gives_each_video_once_in_order_and_errors_where_they_belong() -> None:
    reader = Numbers()
    with ReadAhead(reader, reader.video_ids()) as ahead:
        assert ahead.video_ids() == reader.video_ids()
        assert ahead.read("v0")[0] == 0
        assert ahead.num_segments("v4") == 4
        assert ahead.read("v1")[0] == 1
        with pytest.raises(UserError, match="v2 is damaged"):
            ahead.read("v2")
        assert ahead.read("v3")[0] == 3
        assert ahead.read("v4")[0] == 4
    assert reader.read_ids == reader.video_ids()
    assert len(reader.threads) == 1 and threading.get_ident() not in reader.threads


def test_refuses_a_video_that_was_not_announced_and_ends_early() -> None:
    reader = Numbers()
    with ReadAhead(reader, ["v0", "v1", "v3", "v4"]) as ahead:
        with pytest.raises(ValueError, match="v4"):
            ahead.read("v4")
        ahead.read("v0")
    assert len(reader.read_ids) <= 2  # never more than one ahead
    with ReadAhead(reader, []) as ahead, pytest.raises(ValueError, match="v0"):
        ahead.read("v0")
