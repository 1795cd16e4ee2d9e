"""Sequences composed from clips: every row is a clip's, in annotated order; sources never cross the subsets."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from studies.compose_clips import read_clips, write_sequences
from tc3net.common.errors import UserError
from tc3net.data.timebase import TimeBase

CLASSES, BACKGROUND = ("hug", "kick"), 2


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Clips of 3 sources, whose rows are (source, class, clip, row)."""
    tmp_path = tmp_path / "clips"
    tmp_path.mkdir()
    for source in (1, 2, 3):
        for label in (0, 1, BACKGROUND):
            for clip in range(2):
                rows = [[source, label, clip, row] for row in range(2 + clip + label)]
                np.save(tmp_path / f"1_{source}_{clip}_{label}.npy", np.array(rows, np.float16))
    return tmp_path


def composed(folder: Path, out: Path, seed: int = 0) -> dict:
    clips = read_clips(folder, CLASSES, BACKGROUND)
    return write_sequences(out, clips, {"training": ([1, 3], 6), "test": ([2], 4)}, TimeBase(), seed)["database"]


def test_every_row_is_of_a_clip_and_the_annotations_say_which(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    database = composed(folder, out)
    assert json.loads((out / "annotations.json").read_text())["database"] == database
    assert Counter(video["subset"] for video in database.values()) == {"training": 6, "test": 4}
    for name, video in database.items():
        rows = np.load(out / "features" / "rgb" / f"{name}.npy")
        assert video["duration"] == pytest.approx(len(rows) * 16 / 25)
        assert set(rows[:, 0]) <= ({2.0} if video["subset"] == "test" else {1.0, 3.0})
        shown = np.full(len(rows), BACKGROUND)
        for annotation in video["annotations"]:
            begin, end = (round(time * 25 / 16) for time in annotation["segment"])
            shown[begin:end] = CLASSES.index(annotation["label"])
        np.testing.assert_array_equal(rows[:, 1], shown)
        assert 3 <= len(video["annotations"]) <= 8 and shown[0] == shown[-1] == BACKGROUND
        change = np.load(out / "features" / "flow" / f"{name}.npy")
        np.testing.assert_array_equal(change[1:], np.abs(rows[1:] - rows[:-1]))
        assert not change[0].any()


def test_the_seed_decides(folder: Path, tmp_path: Path) -> None:
    first, same, other = (composed(folder, tmp_path / name, seed) for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    assert first == same != other


def test_an_archive_is_read_like_a_folder(folder: Path, tmp_path: Path) -> None:
    archive = tmp_path / "clips.npz"
    np.savez(archive, **{path.stem: np.load(path) for path in folder.glob("*.npy")})
    assert composed(archive, tmp_path / "a") == composed(folder, tmp_path / "b")


@pytest.mark.parametrize(
    ("name", "rows", "message"),
    [
        ("clip", np.ones((2, 4)), "named 'clip'; expected SET_SOURCE_CLIP_CLASS"),
        ("1_1_1_7", np.ones((2, 4)), "of class 7; expected below 2"),
        ("1_1_9_0", np.ones((2, 5)), "of one D"),
        ("1_1_9_0", np.ones(4), r"expected \[segments, D\]"),
    ],
)  # fmt: skip
def test_other_clips_are_refused(folder: Path, name: str, rows: np.ndarray, message: str) -> None:
    np.save(folder / f"{name}.npy", rows)
    with pytest.raises(UserError, match=message):
        read_clips(folder, CLASSES, BACKGROUND)


def test_sources_without_a_class_are_refused_before_anything_is_composed(folder: Path, tmp_path: Path) -> None:
    for path in folder.glob("1_2_*_1.npy"):
        path.unlink()
    with pytest.raises(UserError, match=r"The test sources \[2\] have no clip of class 1"):
        composed(folder, tmp_path / "out")
