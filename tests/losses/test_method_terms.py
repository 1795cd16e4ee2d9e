"""Terms of other methods: closed forms, values and gradients of the float64 oracle, what must not matter."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tc3net.common.errors import UserError
from tc3net.losses import (
    Background,
    Evidential,
    Guide,
    HardSuppressed,
    LossConfig,
    LossInputs,
    LossTerm,
    Mutual,
    Pooled,
    Sparsity,
    Suppressed,
    Term,
    make_objective,
)
from tc3net.losses.other_methods.background import suppress
from tests.support import methods_oracle as oracle
from tests.support.methods_oracle import TCAMS, Video
from tests.support.oracle import numerical_gradient, relative_error

CLASSES = 4
TERMS: dict[str, tuple[LossTerm, Callable[..., float]]] = {
    "background": (Background(1.0), oracle.background),
    "suppressed": (Suppressed(1.0), oracle.suppressed_loss),
    "hard_suppressed": (HardSuppressed(1.0), oracle.hard_suppressed),
    "guide": (Guide(1.0), lambda videos, labels: oracle.guide(videos)),
    "sparsity": (Sparsity(1.0), lambda videos, labels: oracle.sparsity(videos, "mean")),
    "sparsity, sum": (Sparsity(1.0, "sum"), lambda videos, labels: oracle.sparsity(videos, "sum")),
    "softmax": (Pooled(1.0), oracle.pooled_softmax),
    "sigmoid": (Pooled(1.0, "sigmoid"), oracle.pooled_sigmoid),
    "evidential": (Evidential(1.0), oracle.evidential),
}


def random_videos(seed: int = 0, lengths: tuple[int, ...] = (1, 9, 20, 6)) -> tuple[list[Video], np.ndarray]:
    """What a network may say; the third video has two labels, the last none."""
    rng = np.random.default_rng(seed)
    videos = []
    for length in lengths:
        video = {}
        for name in TCAMS:
            video[f"tcam_{name}"] = 2 * rng.normal(size=(length, CLASSES))
            video[f"background_{name}"] = rng.normal(size=(length, 1))
            video[f"attention_{name}"] = rng.random((length, 1))
            video[f"pooled_{name}"] = rng.normal(size=CLASSES)
        videos.append(video)
    labels = np.eye(CLASSES)[[0, 2, 1, 3]]
    labels[2, 3], labels[3] = 1, 0
    return videos, labels


def as_outputs(videos: list[Video]) -> dict[str, Any]:
    """As the network returns it, in float32; the features only say which streams there are."""
    lengths = [len(video["tcam_fused"]) for video in videos]
    outputs: dict[str, Any] = {}
    for name in videos[0]:
        if name.startswith("pooled_"):
            outputs[name] = tf.constant(np.stack([video[name] for video in videos]), tf.float32)
        else:
            rows = np.concatenate([video[name] for video in videos])
            outputs[name] = tf.RaggedTensor.from_row_lengths(tf.constant(rows, tf.float32), lengths)
    like = outputs["tcam_fused"]
    return {
        **outputs,
        **{f"features_{name}": like for name in oracle.STREAMS},
    }


def inputs_of(outputs: dict[str, Any], labels: np.ndarray, divisor: int = 8) -> LossInputs:
    batch = {"labels": tf.constant(labels, tf.float32)}
    return LossInputs(batch, outputs, {}, tf.constant(0, tf.int64), LossConfig(top_k_divisor=divisor))


def value(term: Term) -> tf.Tensor:
    return tf.math.divide_no_nan(term.total, term.weight**term.power)


@pytest.mark.parametrize("name", TERMS)
def test_values_and_gradients_are_the_oracles(name: str) -> None:
    term, expected = TERMS[name]
    videos, labels = random_videos()
    outputs = as_outputs(videos)
    watched = {key: getattr(part, "flat_values", part) for key, part in outputs.items() if "features" not in key}
    with tf.GradientTape() as tape:
        for tensor in watched.values():
            tape.watch(tensor)
        replaced = {
            key: outputs[key].with_flat_values(part) if isinstance(outputs[key], tf.RaggedTensor) else part
            for key, part in watched.items()
        }
        loss = value(term.compute(inputs_of({**outputs, **replaced}, labels)))
    assert relative_error(loss, expected(videos, labels)) < 1e-5
    gradients = tape.gradient(loss, watched, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    scale = max(float(tf.reduce_max(tf.abs(gradient))) for gradient in gradients.values())
    assert scale > 0
    for key, gradient in gradients.items():
        wanted = [numerical_gradient(lambda: expected(videos, labels), video[key]) for video in videos]
        joined = np.stack(wanted) if key.startswith("pooled_") else np.concatenate(wanted)
        np.testing.assert_allclose(gradient, joined, atol=2e-5 * scale, rtol=1e-4, err_msg=key)


def test_mutual_learning_moves_each_stream_towards_the_others_attention() -> None:
    videos, labels = random_videos()
    outputs = as_outputs(videos)
    rgb, flow = (outputs[f"attention_{name}"].flat_values for name in oracle.STREAMS)
    with tf.GradientTape() as tape:
        tape.watch([rgb, flow])
        like = outputs["attention_rgb"]
        parts = {"attention_rgb": like.with_flat_values(rgb), "attention_flow": like.with_flat_values(flow)}
        loss = value(Mutual(1.0).compute(inputs_of({**outputs, **parts}, labels)))
    fixed = [{name: part.copy() for name, part in video.items()} for video in videos]
    assert relative_error(loss, oracle.mutual(videos, fixed)) < 1e-5
    for name, gradient in zip(oracle.STREAMS, tape.gradient(loss, [rgb, flow])):
        wanted = [numerical_gradient(lambda: oracle.mutual(videos, fixed), v[f"attention_{name}"]) for v in videos]
        np.testing.assert_allclose(gradient, np.concatenate(wanted), atol=1e-6)


def test_mutual_learning_of_three_streams_is_the_mean_over_six_pairs_and_of_one_is_refused() -> None:
    like = tf.RaggedTensor.from_row_lengths(tf.zeros([2, 1]), [2])
    outputs = {f"features_{name}": like for name in "abc"}
    outputs |= {f"attention_{name}": like + value for name, value in zip("abc", (0.0, 0.3, 0.9))}
    found = value(Mutual(1.0).compute(inputs_of(outputs, np.ones((1, 2)))))
    assert float(found) == pytest.approx(2 * (0.09 + 0.81 + 0.36) / 6)
    with pytest.raises(UserError, match="with the stream a alone; expected two or more"):
        Mutual(1.0).compute(inputs_of({"features_a": like, "attention_a": like}, np.ones((1, 2))))


def test_suppressing_in_closed_form() -> None:
    """A = 1 leaves the scores, A = 0 makes them the lowest one, A = 1/2 half way; shares of it never change order."""
    scores = tf.RaggedTensor.from_row_lengths(tf.constant([[4.0, -2.0, 0.0]] * 3), [1, 2])
    found = suppress(scores, tf.constant([[1.0], [0.0], [0.5]]))
    np.testing.assert_array_equal(found.flat_values, [[4, -2, 0], [-2, -2, -2], [1, -2, -1]])


def test_losses_of_equal_scores_in_closed_form() -> None:
    """Of all scores 0 each of K classes has the probability 1/K."""
    videos, labels = random_videos(lengths=(5, 9, 3, 4))
    for video in videos:
        for name, part in video.items():
            part[:] = 0.25 if name.startswith("attention") else 0
    inputs = inputs_of(as_outputs(videos), labels)
    for term, expected in (
        (Background(1.0), 3 * math.log(CLASSES + 1)),
        (Suppressed(1.0), 3 * math.log(CLASSES + 1)),
        (HardSuppressed(1.0), 6 * math.log(CLASSES + 1)),  # no attention is below the others: M = 0, and all are equal
        (Guide(1.0), 3 * abs(1 - 0.25 - 1 / (CLASSES + 1))),
        (Sparsity(1.0), 2 * 0.25),
        (Sparsity(1.0, "sum"), 2 * 0.25 * (5 + 9 + 3 + 4) / 4),
        (Mutual(1.0), 0.0),
        (Pooled(1.0), 3 * math.log(CLASSES)),
        (Pooled(1.0, "sigmoid"), 3 * math.log(2)),
        (Evidential(1.0), 3 * math.log(CLASSES) * 4 / 3),  # of two labels both, in one of three videos
    ):
        assert float(value(term.compute(inputs))) == pytest.approx(expected, abs=1e-6), term.name


EVERY = [*(term for term, _ in TERMS.values()), Mutual(1.0)]


def test_order_of_videos_and_what_lies_beside_them_change_nothing() -> None:
    videos, labels = random_videos()

    def values(order: list[int], parts: list[Video], known: np.ndarray) -> np.ndarray:
        inputs = inputs_of(as_outputs([parts[i] for i in order]), known[order])
        return np.array([[float(term.compute(inputs).total), float(term.compute(inputs).weight)] for term in EVERY])

    alone = values([0, 1, 2], videos, labels)
    assert relative_error(values([2, 0, 1], videos, labels), alone) < 1e-5
    longer = random_videos(1, (1, 9, 20, 90))[0]
    with_another = values([0, 3, 1, 2], [*videos[:3], longer[3]], labels)  # which has no label, and is longer
    labelled = [row for row, term in enumerate(EVERY) if term.name not in ("guide", "sparsity", "mutual")]
    assert relative_error(with_another[labelled], alone[labelled]) < 1e-5
    separate = sum(values([i], videos, labels) for i in range(3))
    assert relative_error(separate, alone) < 1e-5


def test_a_batch_without_labels_gives_zero() -> None:
    videos, labels = random_videos()
    inputs = inputs_of(as_outputs(videos), 0 * labels)
    for term in EVERY:
        if term.name not in ("guide", "sparsity", "mutual"):
            assert (float(term.compute(inputs).total), float(term.compute(inputs).weight)) == (0, 0), term.name


def test_terms_share_k_of_the_top_k_pooling() -> None:
    videos, labels = random_videos()
    for divisor in (3, 8):
        found = value(Background(1.0).compute(inputs_of(as_outputs(videos), labels, divisor)))
        assert relative_error(found, oracle.background(videos, labels, divisor)) < 1e-5


@pytest.mark.parametrize("kind", [type(term) for term in EVERY])
def test_weights_are_checked_and_0_is_off(kind: type[LossTerm]) -> None:
    assert not kind().active and kind(0.5).active and kind(0.5).coefficient == 0.5  # type: ignore[call-arg]
    for wrong in (-1.0, math.nan, math.inf):
        with pytest.raises(UserError, match=rf"--{kind.name}_weight={wrong}; expected 0"):
            kind(wrong)  # type: ignore[call-arg]


def test_the_classification_loss_can_be_weighted_and_replaced() -> None:
    names = make_objective(LossConfig()).names
    weighted = make_objective(LossConfig(classification_weight=0.25))
    assert weighted.names == names
    assert [term.coefficient for term in weighted.terms[:3]] == [0.25] * 3
    assert [term.coefficient for term in make_objective(LossConfig()).terms[:3]] == [1.0] * 3
    off = LossConfig(classification_weight=0.0, alpha=0.0, beta=0.0)
    assert make_objective(off, (Pooled(1.0),)).names == ("pooled",)
    with pytest.raises(UserError, match="--classification_weight=0 leaves a loss without any term"):
        make_objective(off)
