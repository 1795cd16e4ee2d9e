"""What the study of counting losses relies on: variants, damaged counts, supervision by segments, the tables."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from studies.counting_plots import spread
from studies.counting_study import damaged_counts, make_model, parse_variant
from studies.counting_tables import COLUMNS, gains, grouped, read_results, summary
from tc3net.common.errors import UserError
from tc3net.data.pipeline import training_batches
from tc3net.data.sampling import InputConfig
from tc3net.data.split import open_split
from tc3net.losses import LossConfig
from tests.support.data import make_video


def test_a_variant_is_a_loss_and_a_damage() -> None:
    loss, damage = parse_variant("peaks:beta=10:error=log:length=15:ramp=300:noise=0.5")
    assert loss == LossConfig(
        beta=10, count_estimator="peaks", count_error="log", count_length=15, count_ramp_steps=300,
        count_negative_weight=0,
    )  # fmt: skip
    assert damage == {"noise": 0.5, "missing": 0.0}
    assert parse_variant("3C-Net")[0] == LossConfig()
    with pytest.raises(UserError, match="'depth'; expected one of beta, lambda"):
        parse_variant("peaks:depth=3")


def test_damaged_counts_by_hand() -> None:
    batch = {
        "video": tf.constant([2, 0]),
        "counts": tf.constant([[3.0, 0.0], [1.0, 4.0]]),
        "counts_known": tf.constant([[True, True], [True, True]]),
    }
    factor = tf.constant([[0.1, 0.6], [9.0, 9.0], [1.5, 2.0]])
    found = damaged_counts(batch, factor, tf.constant([True, False, False]))
    np.testing.assert_array_equal(found["counts"], [[4.0, 0.0], [1.0, 2.0]])  # 4.5 to even; at least 1; absent stays
    np.testing.assert_array_equal(found["counts_known"], [[True, True], [False, False]])


def test_supervision_by_segments_is_the_mean_cross_entropy_of_known_present_classes(dataset_dir: Path) -> None:
    split = open_split(dataset_dir, "validation")
    model = make_model(split, parse_variant("frames:beta=3")[0], seed=0, learning_rate=1e-3, bound=True)
    kinds = set()
    for batch in training_batches(split, InputConfig(batch_size=4, crop_segments=4, seed=1)).take(4):
        outputs = model(batch["features"], training=False)
        (term,) = [term for term in model.objective.terms if term.name == "frames"]
        found = term.compute(model.loss_inputs(batch, outputs, 0))
        lengths, whole = batch["features"].row_lengths().numpy(), batch["full_length"].numpy()
        starts = np.cumsum(lengths) - lengths
        total = 0.0
        for video, (first, length) in enumerate(zip(starts, lengths)):
            for label in np.flatnonzero((batch["counts"][video] > 0) & batch["counts_known"][video] & whole[video]):
                logit = outputs["tcam_fused"].flat_values.numpy()[first : first + length, label].astype(float)
                middle_s = (np.arange(length) + 0.5) * 16 / 25
                shown = np.zeros(length, bool)
                example = make_video(int(batch["video"][video]), "validation", length)
                for start_s, end_s, of in zip(example.instance_start_s, example.instance_end_s, example.instance_label):
                    shown |= (of == label) & (middle_s >= start_s) & (middle_s < end_s)
                p = 1 / (1 + np.exp(-logit))
                total -= np.where(shown, np.log(p), np.log(1 - p)).mean()
        assert float(found.total) == pytest.approx(total, rel=1e-4)
        assert term.coefficient == 3
        assert not {"count_positive", "count_negative"} & set(model.term_names())
        kinds.add(bool(total > 0))
    assert kinds == {True, False}  # batches of whole videos, and cropped ones


def entry(variant: str, seed: int, value: float) -> dict[str, object]:
    return {
        "simulator": "ours", "scored": "test", "variant": variant, "seed": seed,
        "scalars": dict.fromkeys(COLUMNS.values(), value), "shape": {"error_of_number_of_detections": 1.5},
    }  # fmt: skip


def test_results_of_other_training_are_left_out(tmp_path: Path) -> None:
    entries = [{**entry("mass", 0, 0.2), "iterations": steps} for steps in (600, 1000)]
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(one) + "\n" for one in entries))
    path = str(tmp_path / "results.jsonl")
    assert read_results([path], "test", 1000) == entries[1:]
    assert read_results([path], "held_out", 1000) == []


def test_differences_are_taken_seed_by_seed() -> None:
    entries = [entry("CLS+CL", 0, 0.2), entry("CLS+CL", 1, 0.4), entry("mass", 1, 0.5), entry("mass", 2, 0.9)]
    assert gains(grouped(entries), "mass") == pytest.approx([0.1])
    assert gains(grouped(entries), "edges").size == 0
    assert spread(np.array([1.0, 3.0])) == pytest.approx(2**0.5) and spread(np.array([1.0])) == 0
    line = next(line for line in summary(entries).splitlines() if line.startswith("| mass"))
    cells = [cell.strip() for cell in line.split("|")[1:-1]]
    assert cells == ["mass", "2", *["70.0 ± 28.3"] * 7, "10.0", "1.50"]
