"""What the tests of all engines do with extraction: the local files, whatever ends or fails on the way."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from data_prep.extraction.extracting import Extractor
from data_prep.extraction.jobs.engine_extraction import extract_on
from data_prep.extraction.jobs.recipe import Recipe
from data_prep.extraction.videos import list_videos
from tc3net.common.errors import UserError
from tests.support.clusters import Cluster, wait_for
from tests.support.folders import snapshot
from tests.support.video_files import grey_levels, write_video

RECIPE = Recipe("tests.support.toy_backbone:means")
SLOW = replace(RECIPE, backbone="tests.support.toy_backbone:slow_means", batch_size=1)


def write_videos(folder: Path, count: int) -> dict[str, Path]:
    """So many videos of 4 segments."""
    folder.mkdir()
    for number in range(count):
        write_video(folder / f"v{number}.avi", grey_levels(64 + number))
    return list_videos(folder)


def check_extraction(cluster: Cluster, tmp_path: Path) -> None:
    """The files of the local extraction; a bad video is named, and the others go on; what is finished is skipped."""
    videos = write_videos(tmp_path / "videos", 3)
    (tmp_path / "videos" / "text.mkv").write_text("no video")
    videos = list_videos(tmp_path / "videos")
    local = Extractor(RECIPE.open(), tmp_path / "local").run(videos)
    found = extract_on(cluster.choice, RECIPE, RECIPE.open(), tmp_path / "out", videos)
    assert (found.segments, found.failed) == (local.segments, local.failed)
    assert (list(found.failed), found.skipped) == (["text"], {})
    assert set(found.seconds) == set(local.seconds)
    # The failed one keeps its folder, so that it goes on; nothing of the engine's stays.
    assert snapshot(tmp_path / "out") == snapshot(tmp_path / "local")
    again = extract_on(cluster.choice, RECIPE, RECIPE.open(), tmp_path / "out", videos)
    assert again.skipped == dict.fromkeys(local.segments, "finished before")
    assert snapshot(tmp_path / "out") == snapshot(tmp_path / "local")
    other = replace(RECIPE, sampling=(("fps", 30.0),))
    with pytest.raises(UserError, match=r"with other settings found \(other: sampling\)"):
        extract_on(cluster.choice, other, other.open(), tmp_path / "out", videos)
    with pytest.raises(UserError, match=r"A worker would make other features than the driver \(other: sampling\)"):
        extract_on(cluster.choice, RECIPE, other.open(), tmp_path / "elsewhere", videos)
    assert not list((tmp_path / "elsewhere").glob("*.json"))


def check_killed_extraction(cluster: Cluster, tmp_path: Path) -> None:
    """A worker that is killed with SIGKILL costs nothing but time."""
    videos = write_videos(tmp_path / "videos", 8)
    Extractor(SLOW.open(), tmp_path / "local").run(videos)
    cluster.start()
    victim, finished = cluster.workers.pop(0), []

    def kill_in_the_middle() -> None:
        wait_for(lambda: any((tmp_path / "out").glob("*.json")), "a first video")
        os.killpg(victim.pid, signal.SIGKILL)
        finished.append(len(list((tmp_path / "out").glob("*.json"))))

    killer = threading.Thread(target=kill_in_the_middle)
    killer.start()
    found = extract_on(cluster.choice, SLOW, SLOW.open(), tmp_path / "out", videos)
    killer.join()
    assert victim.wait() == -signal.SIGKILL
    assert finished[0] < len(videos)
    assert sorted({**found.segments, **found.skipped}) == sorted(videos)
    assert not found.failed
    assert snapshot(tmp_path / "out") == snapshot(tmp_path / "local")
