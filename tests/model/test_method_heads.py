"""Heads of other methods: the float64 oracle, videos that do not see each other, replicas, resuming, evaluation."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tc3net.common.errors import UserError
from tc3net.data.pipeline import InputConfig
from tc3net.data.split import open_split
from tc3net.data.streams import Streams
from tc3net.detection import DetectionConfig
from tc3net.losses import (
    Background,
    Boundary,
    Evidential,
    Guide,
    HardSuppressed,
    LossConfig,
    Mutual,
    Pooled,
    Sparsity,
    Suppressed,
)
from tc3net.model import Attention, BackgroundClass, Boundaries, ModelConfig, Pooling, ThreeCNet
from tc3net.model.heads import Head, NetworkShape, check_heads, heads_as_dict, heads_from_dict
from tc3net.optimization.optimizers import OptimizerConfig, make_optimizer
from tc3net.runs.description import RunInfo
from tc3net.training.settings import Settings
from tc3net.training.trainer import TrainerConfig
from tests.support import boundary_oracle, methods_oracle, oracle
from tests.support.rehearsal import Rehearsal
from tests.support.replicas import strategy_of

CLASSES, DIM = 3, 4
HEADS = (Attention("conv", 5), BackgroundClass(True), Boundaries(True, "1,2,5", 6), Pooling("attention"))
TERMS = (
    Background(1.0), Suppressed(0.8), HardSuppressed(0.2), Guide(0.8), Sparsity(0.8), Mutual(0.5),
    Pooled(1.0, "sigmoid"), Evidential(1.3), Boundary(2.0),
)  # fmt: skip


def make_model(heads: tuple[Head, ...] = HEADS, dropout: float = 0.0, streams: Any = DIM) -> ThreeCNet:
    """With weights that are not small, so that differences show."""
    model = ThreeCNet(CLASSES, streams, ModelConfig(dropout=dropout), heads=heads)
    rng = np.random.default_rng(5)
    for variable in model.named_variables().values():
        variable.assign(rng.normal(size=variable.shape))
    return model


def ragged_features(lengths: list[int], width: int = 2 * DIM, seed: int = 0) -> tf.RaggedTensor:
    rows = np.random.default_rng(seed).random((sum(lengths), width)).astype(np.float32)
    return tf.RaggedTensor.from_row_lengths(rows, lengths)


def oracle_outputs(features: np.ndarray, weights: dict[str, np.ndarray], heads: tuple[Head, ...]) -> dict[str, Any]:
    """The network and its heads on one video."""
    video = oracle.forward(features.astype(np.float64), weights)
    for head in heads:
        if isinstance(head, Attention):
            video |= methods_oracle.attention(video, weights, head.attention_head)
        elif isinstance(head, BackgroundClass):
            video |= methods_oracle.background_scores(video, weights)
        elif isinstance(head, Boundaries):
            video["boundaries"] = boundary_oracle.head(video, weights, head.anchors, ("rgb", "flow"))
        elif isinstance(head, Pooling) and head.pooling_head == "attention":
            video |= methods_oracle.attention_pooling(video, weights)
        else:
            video |= methods_oracle.soft_selection(video, weights)
    return video


@pytest.mark.parametrize(
    "heads",
    [HEADS, (Attention("dense", 3), Pooling("attention")), (Pooling("selection"),)],
    ids=["conv", "dense", "selection"],
)
def test_what_heads_compute_is_the_oracles_and_each_video_is_alone(heads: tuple[Head, ...]) -> None:
    model, lengths = make_model(heads), [1, 7, 3, 12]
    weights = {name: variable.numpy().astype(np.float64) for name, variable in model.named_variables().items()}
    features = ragged_features(lengths)
    outputs = model(features)
    expected = [oracle_outputs(features[i].numpy(), weights, heads) for i in range(len(lengths))]
    added = set(expected[0]) - {name for name in expected[0] if name.startswith(("features", "tcam"))}
    assert set(outputs) == set(expected[0]) and added
    for name in added:
        for i, video in enumerate(expected):
            np.testing.assert_allclose(outputs[name][i], video[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_the_background_sees_the_features_that_the_classifier_sees() -> None:
    """With the classifier's weights, it says what the classifier says, whatever was dropped."""
    model = make_model((BackgroundClass(True),), dropout=0.5)
    for stream in ("rgb", "flow"):
        for name in ("kernel", "bias"):
            column = model.named_variables()[f"{stream}_classifier_{name}"].numpy()[..., 1:2]
            model.named_variables()[f"background_{stream}_{name}"].assign(column)
    outputs = model(ragged_features([9, 30]), training=True, step=tf.constant(4))
    for stream in ("rgb", "flow"):
        found, expected = (outputs[f"{kind}_{stream}"].flat_values.numpy() for kind in ("background", "tcam"))
        np.testing.assert_allclose(found[:, 0], expected[:, 1], rtol=1e-4, atol=1e-5)


def test_of_a_single_stream_every_variable_is_trained() -> None:
    streams = Streams.of({"audio": DIM})
    model = ThreeCNet(CLASSES, streams, ModelConfig(dropout=0.5), heads=HEADS)
    terms = tuple(term for term in TERMS if not isinstance(term, Mutual))
    model.compile(
        make_optimizer(0.1), terms=terms, loss_config=LossConfig(classification_weight=0.0, alpha=0.0, beta=0.0)
    )
    before = {name: variable.numpy() for name, variable in model.network_variables().items()}
    for _ in range(2):  # the second convolution's gradient is there from the first step on; biases need a moment
        model.update(batch([3, 8, 5, 6], DIM))
    for name, variable in model.network_variables().items():
        assert not np.array_equal(variable, before[name]), name


def batch(lengths: list[int], width: int = 2 * DIM) -> dict[str, Any]:
    labels = tf.constant(np.eye(CLASSES, dtype=np.float32)[np.arange(len(lengths)) % CLASSES])
    known = tf.ones(labels.shape, tf.bool)
    return {
        "features": ragged_features(lengths, width), "labels": labels, "counts": labels, "counts_known": known,
        "full_length": known[:, 0],
    }  # fmt: skip


def compiled(dropout: float = 0.0) -> ThreeCNet:
    model = ThreeCNet(CLASSES, DIM, ModelConfig(dropout=dropout), seed=1, heads=HEADS)
    model.compile(make_optimizer(0.1, OptimizerConfig(optimizer="sgd")), terms=TERMS, weight_decay=0.0, ema_decay=0.9)
    return model


def test_any_number_of_replicas_gives_the_same_weights() -> None:
    """Of two, with four videos each: what they hold together, and what each of them holds."""
    found = []
    for replicas in (1, 2):
        strategy = strategy_of(replicas)
        with strategy.scope():
            model = compiled()
        data, size = batch([3, 6, 4, 7, 5, 8, 2, 9]), 8 // replicas

        def part(context: Any, size: int = size, data: dict[str, Any] = data) -> dict[str, Any]:
            at = size * context.replica_id_in_sync_group
            return {name: value[at : at + size] for name, value in data.items()}

        if replicas == 1:
            step = tf.function(model.update, autograph=False)
            values = [step(data) for _ in range(2)][-1]
        else:
            shares = strategy.experimental_distribute_values_from_function(part)
            run = tf.function(lambda s: strategy.run(model.update, args=(s,)), autograph=False)  # noqa: B023
            values = {
                k: strategy.experimental_local_results(v)[0] for k, v in [run(shares) for _ in range(2)][-1].items()
            }
        found.append(
            ({name: float(values[name]) for name in model.term_names()},
             {n: v.numpy() for n, v in model.named_variables().items()})
        )  # fmt: skip
    (alone, alone_weights), (values, weights) = found
    for name, expected in alone.items():
        assert values[name] == pytest.approx(expected, rel=2e-5, abs=1e-6), name
    for name, expected in alone_weights.items():
        np.testing.assert_allclose(weights[name], expected, rtol=1e-4, atol=1e-5, err_msg=name)


@functools.cache
def rehearsal() -> Rehearsal:
    return Rehearsal(lambda: compiled(dropout=0.5))


def test_a_resumed_run_with_everything_on_repeats_the_whole_one_to_the_last_bit(
    dataset_dir: Path, tmp_path: Path
) -> None:
    def train(folder: str, iterations: int) -> dict[str, np.ndarray]:
        config = TrainerConfig(iterations=iterations, log_every=1, eval_every=0, checkpoint_every=2)
        trainer = rehearsal().trainer(config, tmp_path / folder)
        trainer.train(open_split(dataset_dir, "validation"), InputConfig(batch_size=4, crop_segments=8, seed=3))
        averages = rehearsal().model.average.variables
        return {**rehearsal().weights(), **{f"average {name}": v.numpy() for name, v in averages.items()}}

    whole = train("whole", 4)
    train("parts", 2)
    parts = train("parts", 4)
    assert {"attention_rgb_layer1_kernel", "average background_flow_weight", "average pooling_fused_bias"} <= set(whole)
    assert {"boundaries_layer2_scale", "average boundaries_last_kernel"} <= set(whole)
    for name, value in whole.items():
        np.testing.assert_array_equal(parts[name], value, err_msg=name)


# What fits together --------------------------------------------------------------------------------------------------


def test_heads_without_readers_and_readers_without_heads_are_refused() -> None:
    for heads, terms, message in (
        ((Attention("conv"),), (), "--attention_head=conv|dense: no term of the loss reads"),
        ((), (Sparsity(0.1),), "'sparsity' reads what the network computes with --attention_head=conv|dense"),
        ((Attention("dense"),), (Guide(0.1),), "'guide' reads .* --background_class, which is switched off"),
        ((Pooling("attention"),), (Pooled(1.0),), "'pooling' reads .* --attention_head"),
        ((Pooling("selection"),), (), "--pooling_head=attention|selection: no term of the loss reads"),
        ((Boundaries(True),), (), "--boundary_head: no term of the loss reads"),
        ((), (Boundary(1.0),), "'boundary' reads what the network computes with --boundary_head, which is switched"),
    ):
        with pytest.raises(UserError, match=message.replace("|", r"\|")):
            check_heads(heads, terms)
        with pytest.raises(UserError):
            ThreeCNet(CLASSES, DIM, heads=heads).compile(terms=terms)
    check_heads((Attention(), BackgroundClass(), Pooling()), (Sparsity(), Guide()))  # all off
    check_heads(HEADS, TERMS)


def test_a_variable_that_no_term_reaches_is_named() -> None:
    model = ThreeCNet(CLASSES, DIM)
    model.compile(loss_config=LossConfig(classification_weight=0.0, beta=0.0))  # the centers read no fused T-CAM
    with pytest.raises(UserError, match=r"\(center_rgb, center_flow\) depends on the variables .*fusion_weight_rgb"):
        model.update(batch([3, 4]))


def test_heads_come_back_from_a_runs_description() -> None:
    choices = heads_as_dict((*HEADS, Pooling()))
    assert list(choices) == ["attention", "background", "boundaries", "pooling"]
    assert heads_from_dict(choices) == HEADS
    assert heads_as_dict((Attention(), BackgroundClass(), Pooling())) == {}
    twin = ThreeCNet.from_config(make_model().get_config())
    assert twin.named_variables().keys() == make_model().named_variables().keys()


def test_a_run_describes_its_heads_and_terms_and_needs_no_extension(dataset_dir: Path) -> None:
    manifest = open_split(dataset_dir, "validation").manifest

    def described(**parts: Any) -> RunInfo:
        run = Settings("validation", "test", ("thumos14",), **parts).describe(manifest)
        return RunInfo.from_dict(json.loads(json.dumps(run.as_dict())))

    detection = DetectionConfig(track="attention")
    run = described(heads=(*HEADS, Pooling()), terms=(*TERMS, Guide()), detection=detection)
    assert run.extensions == () and run.make_heads() == HEADS and run.detection == detection
    assert run.training.terms["sparsity"] == {"sparsity_weight": 0.8, "sparsity_over": "mean"}
    plain, off = described(), described(heads=(Attention(), BackgroundClass(), Pooling()), terms=(Guide(), Sparsity()))
    assert plain.training == off.training and not off.heads and "terms" not in off.training.as_dict()
    with pytest.raises(UserError, match=r"there is none\. Train with --attention_head"):
        described(detection=detection)
    bounded = DetectionConfig(proposals="boundaries")
    assert described(heads=HEADS, terms=TERMS, detection=bounded).detection == bounded
    with pytest.raises(UserError, match=r"there are none\. Train with --boundary_head"):
        described(detection=bounded, heads=(Boundaries(),))


def test_boundaries_are_learned_and_move_nothing_else() -> None:
    """The same trunk, bit by bit, with and without the head and its term; the head itself learns."""
    found = []
    for heads, terms in (((), ()), ((Boundaries(True, "1,2,5", 6),), (Boundary(3.0),))):
        model = ThreeCNet(CLASSES, DIM, ModelConfig(dropout=0.5), seed=1, heads=heads)
        model.compile(make_optimizer(0.1, OptimizerConfig(optimizer="sgd")), terms=terms, weight_decay=0.0)
        before = {name: variable.numpy() for name, variable in model.named_variables().items()}
        for _ in range(3):
            values = model.update(batch([12, 6, 24, 7]))
        after = {name: variable.numpy() for name, variable in model.named_variables().items()}
        found.append(after)
        moved = {name for name, value in after.items() if not np.array_equal(value, before[name])}
        assert {name for name in after if name.startswith("boundaries")} <= moved
    assert 0 < float(values["boundary"]) < 0.7 and float(values["boundary_videos"]) == 4
    for name, value in found[0].items():
        np.testing.assert_array_equal(found[1][name], value, err_msg=name)


@pytest.mark.parametrize(
    "anchors", ["", "1,1", "2,1", "0.5,1", "a", "1,inf", "1,nan", ",".join(map(str, range(1, 18)))]
)
def test_anchors_that_are_no_widths_are_refused(anchors: str) -> None:
    with pytest.raises(UserError, match=f"--boundary_anchors={anchors}; expected up to 16 increasing widths"):
        Boundaries(True, anchors)


def test_a_head_without_units_is_refused_and_anchors_begin_where_they_are() -> None:
    with pytest.raises(UserError, match="--boundary_width=0"):
        Boundaries(True, boundary_width=0)
    model = ThreeCNet(CLASSES, DIM, heads=(Boundaries(True),), seed=3)
    spans = model(ragged_features([100]))["boundaries"][0].numpy()
    widths, middles = spans[50, :, 1] - spans[50, :, 0], spans[50].mean(axis=1)
    np.testing.assert_allclose(widths, [1, 2, 4, 8, 16, 32], rtol=0.3)
    assert np.all(np.abs(middles - 50.5) < 0.3 * widths)


def test_widths_are_the_published_ones_unless_given() -> None:
    shape = NetworkShape(CLASSES, {"rgb": DIM}, 0)
    for kind, width in (("conv", 512), ("dense", 256)):
        layer = Attention(kind).make_layer(shape)
        assert layer.stream_layers["rgb"][-1][0].shape[1] == width
    with pytest.raises(UserError, match="--attention_width=-1"):
        Attention("conv", -1)
