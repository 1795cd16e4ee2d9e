"""From a folder of videos to a page that plays them: the recipe of docs/own-videos.md, and what its page does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_prep.extraction.decoding import VideoFile
from tc3net.prediction.video_copies import is_played
from tests.support.bright_videos import NUM_SEGMENTS, TOY, make_run
from tests.support.commands import command
from tests.support.needs import VIDEO, needs
from tests.support.once import made_once

pytestmark = needs(VIDEO)


@pytest.fixture(scope="session")
def bright(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield from made_once(tmp_path_factory, "bright", make_run)


def test_the_run_knows_how_its_features_were_extracted(bright: Path) -> None:
    note = json.loads((bright / "features" / "v0.json").read_text())
    manifest, run = (json.loads((bright / name).read_text()) for name in ("dataset/dataset.json", "run/run.json"))
    assert manifest["source"]["extraction"] == run["extraction"] == note["settings"]
    assert run["extraction"]["networks"]["rgb"]["network"] == TOY


def test_from_a_video_to_a_page_and_back_without_extracting_again(bright: Path, tmp_path: Path) -> None:
    out, video = tmp_path / "out", bright / "videos" / "v4.mp4"
    run = f"--run_dir={bright / 'run'}"
    screen = command("tc3net.predict", run, f"--video={video}", f"--output_dir={out}", "--clips", "--max_clips=2")
    assert f"rgb: {TOY}, means and spread, version 1" in screen and f"v4: {NUM_SEGMENTS} segments" in screen
    assert (out / "features" / "rgb" / "v4.npy").read_bytes() == (bright / "features" / "rgb" / "v4.npy").read_bytes()
    found = json.loads((out / "detections.json").read_text())["results"]["v4"]
    # The same as from the features themselves.
    command("tc3net.predict", run, f"--features={bright / 'features' / 'rgb' / 'v4.npy'}", f"--output_dir={tmp_path}")
    assert json.loads((tmp_path / "detections.json").read_text())["results"]["v4"] == found and found
    page = (out / "report.html").read_text()
    assert '"url":"videos/v4.mp4"' in page and "Prediction for 1 videos" in page
    assert is_played(out / "videos" / "v4.mp4") and (out / "v4.png").stat().st_size > 10_000
    clips = sorted((out / "clips" / "v4").iterdir())
    assert len(clips) == min(2, len(found))
    for path in clips:
        start_s, end_s = map(float, re.findall(r"_([\d.]+)-([\d.]+)s\.mp4$", path.name)[0])
        with VideoFile(path) as clip:
            assert sum(1 for _ in clip.frames()) == pytest.approx((end_s - start_s) * 25, abs=3)
    # The second call finds the features, and the copy; the page can hold the video.
    before = (out / "features" / "rgb" / "v4.npy").stat().st_mtime_ns, (out / "videos" / "v4.mp4").stat().st_mtime_ns
    screen = command("tc3net.predict", run, f"--video={video}", f"--output_dir={out}", "--embed_videos")
    assert f"v4: features are in {out / 'features'}" in screen and "writing a copy" not in screen
    after = (out / "features" / "rgb" / "v4.npy").stat().st_mtime_ns, (out / "videos" / "v4.mp4").stat().st_mtime_ns
    assert after == before and '"url":"data:video/mp4;base64,' in (out / "report.html").read_text()


def test_a_folder_with_a_bad_file_gives_the_others_and_status_1(bright: Path, tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    (folder / "v1.mp4").write_bytes((bright / "videos" / "v1.mp4").read_bytes())
    (folder / "bad.mp4").write_text("no video")
    run, out = f"--run_dir={bright / 'run'}", f"--output_dir={tmp_path / 'out'}"
    screen = command("tc3net.predict", run, f"--video={folder}", out, expect_failure=True)
    assert "error: 1 video could not be extracted:\n  bad: " in screen
    assert list(json.loads((tmp_path / "out" / "detections.json").read_text())["results"]) == ["v1"]
    for flags, message in (
        (["--video=absent.mp4"], "absent.mp4: no such file or folder; expected videos. Check --video."),
        (["--video=a.mp4", "--features=b.npy"], "--video found together with feature files"),
        (["--video=rtsp://x/y"], "Add --follow"),
        (["--features=b.npy", "--clips"], "--clips needs --video"),
        ([f"--video={folder}", "--rescaled_rows"], "--video found with rows that span their video"),
        ([f"--video={folder},a.mp4", "--follow"], "expected one file, stream or camera"),
    ):
        assert message in command("tc3net.predict", run, out, *flags, expect_failure=True)


def test_a_video_that_grows_ends_as_the_whole(bright: Path, tmp_path: Path) -> None:
    run, video = f"--run_dir={bright / 'run'}", f"--video={bright / 'videos' / 'v4.mp4'}"
    follow = ["--follow", "--follow_timeout_s=0.5", "--follow_poll_s=0.05", "--follow_window=64"]
    screen = command("tc3net.predict", run, video, f"--output_dir={tmp_path / 'live'}", *follow)
    command("tc3net.predict", run, video, f"--output_dir={tmp_path / 'whole'}")
    assert f"{NUM_SEGMENTS} segments; written to" in screen
    live, whole = (json.loads((tmp_path / n / "detections.json").read_text()) for n in ("live", "whole"))
    assert live["results"] == whole["results"] and live["results"]["v4"]
    lines = [json.loads(line) for line in (tmp_path / "live" / "detections.jsonl").read_text().splitlines()]
    # Shorter than half a window: what the stream gave is what the whole gives.
    assert sorted(line["segment"] for line in lines) == sorted(one["segment"] for one in whole["results"]["v4"])
    assert "videos/v4.mp4" in (tmp_path / "live" / "report.html").read_text()
