"""Which videos are held out: by hash, every class on both sides where that is possible, and never in a batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tc3net.common.errors import UserError
from tc3net.data.holdout import choose_held_out, divide, position_of
from tc3net.data.pipeline import InputConfig, evaluation_batches, training_batches
from tc3net.data.split import Split, open_split
from tests.support.data import make_video, write_dataset


def names(count: int) -> list[str]:
    return [f"video_{i:04d}" for i in range(count)]


@settings(deadline=None, max_examples=200)
@given(
    rows=st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=30),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 1000),
)
def test_every_class_is_trained_on_and_held_out_where_possible(rows: list, fraction: float, seed: int) -> None:
    labels, ids = np.array(rows), names(len(rows))
    held = choose_held_out(ids, labels, fraction, seed)
    trained = (labels & ~held[:, None]).sum(axis=0)
    for c in range(3):
        if labels[:, c].any():
            assert trained[c] > 0
        if labels[:, c].any() and not (labels[:, c] & held).any():
            # None of its videos can go: each has a class of which it is the last one in training.
            assert all(trained[labels[v]].min() == 1 for v in np.flatnonzero(labels[:, c]))
    # Only videos of classes that the hashes leave on one side are where their hash does not put them.
    moved = held != np.array([position_of(name, seed) < fraction for name in ids])
    assert not (moved & ~labels.any(axis=1)).any() and moved.sum() <= 6


def test_the_choice_does_not_depend_on_the_order_of_the_videos() -> None:
    labels = np.random.default_rng(0).random((40, 5)) < 0.1
    ids = names(40)
    order = np.random.default_rng(1).permutation(40)
    held = choose_held_out(ids, labels, 0.2, 0)
    np.testing.assert_array_equal(choose_held_out([ids[i] for i in order], labels[order], 0.2, 0), held[order])


def test_videos_that_join_move_no_others() -> None:
    """With many videos per class the hash alone decides."""
    labels = np.eye(4, dtype=bool)[np.arange(200) % 4]
    few, many = (choose_held_out(names(n), labels[:n], 0.2, seed=3) for n in (120, 200))
    np.testing.assert_array_equal(many[:120], few)
    assert 0.1 < many.mean() < 0.3
    assert (choose_held_out(names(200), labels, 0.2, seed=4) != many).any()


def test_the_hash_is_the_same_everywhere() -> None:
    """A run must be repeatable on another machine, and by other code: the first 6 bytes of SHA-256("0:a")."""
    assert position_of("a", 0) == 0x9DF3C5FAB8EF / 2**48


def ids_of(split: Split) -> list[str]:
    return [video_id.decode() for batch in evaluation_batches(split) for video_id in batch["id"].numpy()]


def test_held_out_videos_are_evaluated_and_never_trained_on(dataset_dir: Path) -> None:
    """The first feature of a video tells which one it is (conftest)."""
    split = open_split(dataset_dir, "validation")
    train, held = divide(split, 0.3, seed=1)
    assert sorted(ids_of(train) + ids_of(held)) == sorted(ids_of(split))
    assert 0 < held.num_videos < split.num_videos
    config = InputConfig(batch_size=train.num_videos, crop_segments=8, seed=1)
    for batch in training_batches(train, config).take(2):
        seen = sorted(int(video[0, 0]) for video in batch["features"])
        assert seen == sorted(int(video_id[-3:]) for video_id in ids_of(train))


def test_the_batch_of_a_step_depends_on_seed_and_step_alone(dataset_dir: Path) -> None:
    train, _ = divide(open_split(dataset_dir, "validation"), 0.3, seed=1)
    config = InputConfig(batch_size=3, crop_segments=8, seed=1)
    whole = [batch["features"].to_list() for batch in training_batches(train, config).take(5)]
    resumed = [batch["features"].to_list() for batch in training_batches(train, config, start_step=3).take(2)]
    assert resumed == whole[3:]


def test_too_few_labelled_videos_are_refused(tmp_path: Path) -> None:
    lonely = [make_video(index, "validation", 5) for index in (0, 1, 7)]  # 0 and 7 have no labels
    write_dataset(tmp_path, {"validation": lonely})
    with pytest.raises(UserError, match=r"--holdout_fraction=0.5 of the 3 videos \(1 labelled\) .*to hold out"):
        divide(open_split(tmp_path, "validation"), 0.5, 0)
