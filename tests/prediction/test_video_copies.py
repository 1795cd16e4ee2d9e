"""Copies that browsers play, and clips: the frames, times and shapes that they should have."""

from __future__ import annotations

import os

import numpy as np
import pytest

from data_prep.extraction.decoding import VideoFile
from tc3net.prediction.video_copies import clip_name, is_played, playable_copy, remove_clips, write_clip
from tests.support.needs import VIDEO, needs
from tests.support.video_files import grey_levels, stretched, turned_clockwise, write_video

pytestmark = needs(VIDEO)


def content(path):
    """(start s, number of `grey_levels`) of each frame, and the size of the last one."""
    with VideoFile(path) as video:
        frames = [(float(timed.start_s), timed.frame) for timed in video.frames()]
    levels = [round((float(frame.to_ndarray(format="rgb24").mean()) - 10) / 3) for _, frame in frames]
    return [start for start, _ in frames], levels, (frames[-1][1].width, frames[-1][1].height)


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "mpeg4"), ("a.avi", "mpeg4"), ("a.mkv", "ffv1")])
def test_a_copy_has_the_frames_at_their_times(tmp_path, name, codec, capsys):
    path = write_video(tmp_path / name, grey_levels(40), codec=codec)
    assert not is_played(path)
    copy = playable_copy(path, tmp_path / "copies" / "a.mp4")
    assert is_played(copy) and playable_copy(copy, tmp_path / "none.mp4") == copy
    starts, levels, size = content(copy)
    assert size == (64, 48)
    np.testing.assert_allclose(starts, np.arange(40) / 25, atol=1e-4)
    np.testing.assert_allclose(levels, range(40), atol=1)
    before = copy.stat().st_mtime_ns
    playable_copy(path, copy)
    assert copy.stat().st_mtime_ns == before and capsys.readouterr().out.count("writing a copy") == 1
    os.utime(path, (2e9, 2e9))
    playable_copy(path, copy)
    assert copy.stat().st_mtime_ns != before


@pytest.mark.parametrize("name", ["a.mp4", "a.avi", "a.mkv", "a.ts"])
def test_a_clip_has_the_frames_of_its_detection(tmp_path, name):
    path = write_video(tmp_path / name, grey_levels(70))  # key frames are twelve apart
    assert write_clip(path, 1.0, 1.8, tmp_path / "clip.mp4", "a title")
    starts, levels, _ = content(tmp_path / "clip.mp4")
    np.testing.assert_allclose(starts, np.arange(20) / 25, atol=1e-3)
    np.testing.assert_allclose(levels, range(25, 45), atol=1)
    assert not write_clip(path, 9.0, 9.5, tmp_path / "after.mp4") and not (tmp_path / "after.mp4").exists()
    assert write_clip(path, 0.02, 0.1, tmp_path / "cut.mp4")  # of frames that were under way
    assert content(tmp_path / "cut.mp4")[0] == pytest.approx([0, 0.02, 0.06], abs=1e-3)


def test_clips_of_times_that_vary_are_upright_and_have_square_pixels(tmp_path):
    stamps = np.cumsum([0, *np.random.default_rng(0).integers(5, 150, 29)]).tolist()
    path = write_video(tmp_path / "variable.mkv", grey_levels(30), stamps=stamps, codec="ffv1")
    assert write_clip(path, stamps[10] / 1000, stamps[20] / 1000, tmp_path / "clip.mp4")
    starts, levels, _ = content(tmp_path / "clip.mp4")
    np.testing.assert_allclose(starts, (np.array(stamps[10:20]) - stamps[10]) / 1000, atol=1e-3)
    np.testing.assert_allclose(levels, range(10, 20), atol=1)
    turned = turned_clockwise(write_video(tmp_path / "turned.mp4", grey_levels(20)))
    assert write_clip(turned, 0, 1, tmp_path / "clip.mp4") and content(tmp_path / "clip.mp4")[2] == (48, 64)
    wide = stretched(tmp_path / "wide.mkv", grey_levels(20), 3, 2)
    assert write_clip(wide, 0, 1, tmp_path / "clip.mp4") and content(tmp_path / "clip.mp4")[2] == (96, 48)


def test_names_are_safe_and_only_clips_are_removed(tmp_path):
    name = clip_name(3, "Pole vault / <b>", 1.25, 70)
    assert name == "003_Pole_vault_b__1.2-70.0s.mp4"
    for other in (name, "mine.mp4", "001_notes.txt"):
        (tmp_path / other).touch()
    remove_clips(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["001_notes.txt", "mine.mp4"]
