"""CoLA's snippet contrast: which segments are what, closed forms, the float64 oracle, and what must not matter."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tc3net.common.errors import UserError
from tc3net.losses import LossInputs, SnippetContrast
from tc3net.losses.other_methods.snippet_contrast import dilated, eroded, info_nce, snippet_contrast_loss, snippets
from tests.support import oracle, term_oracle
from tests.support.term_cases import gradients, ragged, random_videos, value

TOLERANCE = 1e-5


def loss(features: Any, tcams: Any, labels: Any) -> Any:
    actionness = tcams.with_flat_values(tf.reduce_sum(tf.nn.relu(tcams.flat_values), axis=1))
    return snippet_contrast_loss(features, actionness, tf.constant(labels, tf.float32))


def positions(mask: tf.Tensor) -> list[int]:
    return np.flatnonzero(mask.numpy()).tolist()


def test_erosion_and_dilation_stay_inside_each_video() -> None:
    """Videos ####|###.. and widths 3 and 6: an even window reaches 3 back and 2 ahead when it erodes."""
    mask, ids = tf.constant([True] * 7 + [False] * 2), tf.constant([0] * 4 + [1] * 5, tf.int64)
    assert positions(eroded(mask, ids, 3)) == [1, 2, 5]
    assert positions(eroded(mask, ids, 6)) == []
    assert positions(dilated(mask, ids, 3)) == list(range(8))
    alone = tf.constant([t == 5 for t in range(11)])
    assert positions(dilated(alone, tf.zeros([11], tf.int64), 6)) == [2, 3, 4, 5, 6, 7]
    assert positions(dilated(alone, tf.zeros([11], tf.int64), 3)) == [4, 5, 6]
    long = tf.constant([2 <= t < 10 for t in range(12)])
    assert positions(eroded(long, tf.zeros([12], tf.int64), 6)) == [5, 6, 7]


def test_the_sets_of_a_video_with_one_action() -> None:
    """20 segments, actionness 1 ... 8 in 6 ... 13: easy 4 of highest and lowest, hard ones beside the borders."""
    track = np.zeros(20)
    track[6:14] = np.arange(1, 9)
    found = snippets(ragged([track]), 5, 20)
    assert positions(found.easy_action) == [10, 11, 12, 13]
    assert positions(found.easy_background) == [16, 17, 18, 19]  # of equal ones the later are background
    # Active: 6 ... 13. Eroded by 3: 7 ... 12, by 6: 9, 10, 11; between them 7, 8, 12, of which 12 is highest.
    assert positions(found.hard_action) == [12]
    # Dilated by 6: 3 ... 15, by 3: 5 ... 14; between them 3, 4, 15, which are alike: the first.
    assert positions(found.hard_background) == [3]


@settings(deadline=None, max_examples=20)
@given(hnp.arrays(np.int8, st.lists(st.integers(1, 60), min_size=1, max_size=1).map(tuple), elements=st.integers(0, 6)))
def test_sets_agree_with_the_oracle_ties_included(track: np.ndarray) -> None:
    found = snippets(ragged([track.astype(float), np.arange(5.0)]), 5, 20)
    for mask, wanted in zip(found, term_oracle.snippet_sets(track.astype(float))):
        assert positions(mask[: len(track)]) == sorted(wanted)


@pytest.mark.parametrize("seed", range(2))
def test_value_and_gradients_agree_with_the_oracle(seed: int) -> None:
    batch = random_videos(seed, [1, 43, 2, 21, 30])

    def expected() -> float:
        return term_oracle.snippet_contrast(batch["features"], batch["tcams"], batch["labels"])

    term = loss(ragged(batch["features"]), ragged(batch["tcams"]), batch["labels"])
    assert float(term.weight) == 4
    assert expected() > 0.1 and float(value(term)) == pytest.approx(expected(), rel=TOLERANCE)
    x, c = gradients(lambda x, c: loss(x, c, batch["labels"]), batch["features"], batch["tcams"])
    wanted = np.concatenate([oracle.numerical_gradient(expected, part) for part in batch["features"]])
    assert oracle.relative_error(x, wanted) < TOLERANCE
    assert np.all(c == 0)  # actionness chooses, and is not trained by it


def test_contrast_of_a_query_that_is_like_its_key_and_unlike_everything_else() -> None:
    """q = k, both negatives orthogonal: -ln (e^(1/τ) / (e^(1/τ) + 2)); all alike: ln 3."""
    x = tf.constant([[1.0, 0], [2, 0], [0, 1], [0, 3]])
    like = tf.RaggedTensor.from_row_lengths(x, [4])
    query, key, others = (tf.constant([t in at for t in range(4)]) for at in ((0,), (1,), (2, 3)))
    assert float(info_nce(x, query, key, others, like)[0]) == pytest.approx(math.log1p(2 * math.exp(-1 / 0.07)))
    alike = tf.ones_like(x)
    assert float(info_nce(alike, query, key, others, like)[0]) == pytest.approx(math.log(3), rel=1e-6)
    nobody = tf.zeros([4], tf.bool)
    assert float(info_nce(x, nobody, key, others, like)[0]) == 0


def test_an_opposite_query_and_features_of_zero_stay_finite() -> None:
    batch = random_videos(1, [40, 25])
    batch["features"][0][:20] *= -1e4
    batch["features"][1][:] = 0
    batch["labels"][:] = 1
    term = loss(ragged(batch["features"]), ragged(batch["tcams"]), batch["labels"])
    found = gradients(lambda x, c: loss(x, c, batch["labels"]), batch["features"], batch["tcams"])
    assert np.isfinite(float(term.total)) and all(np.all(np.isfinite(gradient)) for gradient in found)


@settings(deadline=None, max_examples=3)
@given(seed=st.integers(0, 10_000), data=st.data())
def test_order_of_videos_and_other_videos_change_nothing(seed: int, data: Any) -> None:
    batch = random_videos(seed, [13, 40, 1, 26])

    def total(chosen: Any) -> tuple[float, float]:
        parts = ([batch[name][i] for i in chosen] for name in ("features", "tcams"))
        term = loss(*map(ragged, parts), batch["labels"][list(chosen)])
        return float(term.total), float(term.weight)

    order = data.draw(st.permutations(range(4)))
    np.testing.assert_allclose(total(order), total(range(4)), rtol=TOLERANCE)
    apart = np.sum([total([i]) for i in range(4)], axis=0)
    np.testing.assert_allclose(total(range(4)), apart, rtol=TOLERANCE)


def inputs(batch: dict[str, Any], **outputs: Any) -> LossInputs:
    given = {
        "features_rgb": ragged(batch["features"]), "features_flow": ragged([x**2 for x in batch["features"]]),
        "tcam_fused": ragged(batch["tcams"]), **outputs,
    }  # fmt: skip
    labels = tf.constant(batch["labels"], tf.float32)
    return LossInputs({"labels": labels}, given, dict.fromkeys(("rgb", "flow"), tf.zeros([])), tf.constant(0))


def test_it_reads_all_streams_and_where_asked_the_attention_of_a_head() -> None:
    batch = random_videos(4, [24, 43, 9])
    beside = [np.concatenate([x, x**2], axis=1) for x in batch["features"]]
    expected = term_oracle.snippet_contrast(beside, batch["tcams"], batch["labels"])
    assert float(value(SnippetContrast(1.0).compute(inputs(batch)))) == pytest.approx(expected, rel=TOLERANCE)
    attention = [np.random.default_rng(len(x)).random((len(x), 1)) for x in batch["features"]]
    found = SnippetContrast(1.0, "attention").compute(inputs(batch, attention_fused=ragged(attention)))
    expected = term_oracle.snippet_contrast(beside, attention, batch["labels"])
    assert float(value(found)) == pytest.approx(expected, rel=TOLERANCE)
    assert SnippetContrast(1.0, "attention").needs == ("attention",) and SnippetContrast(1.0).needs == ()


@pytest.mark.parametrize(
    ("name", "bad"),
    [("snippet_contrast_weight", -1.0), ("snippet_contrast_weight", float("nan")), ("snippet_easy_divisor", 1),
     ("snippet_hard_divisor", 0)],
)  # fmt: skip
def test_impossible_choices_are_refused(name: str, bad: float) -> None:
    with pytest.raises(UserError, match=f"--{name}="):
        SnippetContrast(**{name: bad})
