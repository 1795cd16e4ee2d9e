"""How close a training step comes to the machine's limit.

    python -m benchmarks.train_step

32 videos with THUMOS14's lengths, 1024 features per stream, 101 classes, all three losses and the centers' update, on
one batch cropped at 750 segments and one of full length. The floor is the time in which the machine multiplies matrices
of the dense layers' shapes for as many floating-point operations as the dense layers need; it is measured in the same
run, in turn with the steps. The last line is one JSON object:

step_over_floor: step time over the floor; the mean of the two batches. By batch: step_over_floor_by_batch.
products_over_floor: the dense layers' own products, forward and backward, over the floor, which is of the forward one:
    those of the kernels' gradients, whose left factor is transposed, are slower on CPUs. A step cannot be below it.
loss_share: the losses and the centers' update, forward and backward, alone, over the whole step.
padded_over_ragged: the same step with every video padded to the longest one, over the ragged step.
bf16_over_f32: the step with --precision=bfloat16 over the float32 step.
retracings: graphs traced after the second step, on batches of other lengths; 0 expected.
length_table: segments per second for videos of 1, 2, 4, 8 times the length; equal numbers mean linear cost.
"""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from absl import flags

from benchmarks.batches import random_batch, thumos14_lengths
from benchmarks.timing import matmul_floor, median_ratio, seconds
from tc3net import __version__
from tc3net.model import ModelConfig, ThreeCNet
from tc3net.terminal.command import run_main
from tc3net.training.host_memory import keep_freed_memory

FLAGS = flags.FLAGS
CROPPED, FULL = "cropped at 750", "full length"


def register_flags() -> None:
    """Defines this command's flags."""
    flags.DEFINE_integer("feature_dim", 1024, "D of one stream.")
    flags.DEFINE_integer("num_classes", 101, "C.")
    flags.DEFINE_integer("videos", 32, "Videos per batch.")
    flags.DEFINE_integer("repeats", 7, "Measurements of each time; medians are reported.")
    flags.DEFINE_boolean("keep_memory", True, "Keep freed memory, as tc3net.train does.")


def dense_operations(rows: int, feature_dim: int, num_classes: int) -> int:
    """Floating-point operations of the dense layers, forward and backward, two streams.

    A product counts two per multiply-add. The first layer needs no gradient of its input: 2 products; the others 3.
    """
    return 2 * rows * (2 * feature_dim * feature_dim * (2 + 3) + 2 * feature_dim * num_classes * 3)


def make_step(batch: dict[str, Any], precision: str = "float32") -> Callable[[], float]:
    """A function that measures one training step."""
    model = ThreeCNet(FLAGS.num_classes, FLAGS.feature_dim, ModelConfig(precision=precision))
    model.compile()
    update = tf.function(model.update)

    def step() -> float:
        return seconds(lambda: update(batch)["loss"])

    step()
    step()
    return step


def make_products(rows: int, feature_dim: int, num_classes: int) -> Callable[[], float]:
    """A function that measures the products counted by `dense_operations`, in the shapes and orders of a step."""
    wide, narrow, kernel = [rows, feature_dim], [rows, num_classes], [feature_dim, feature_dim]
    shapes = (wide, wide, wide, narrow, kernel, kernel, [num_classes, feature_dim])
    streams = [[tf.Variable(tf.random.normal(shape)) for shape in shapes] for _ in range(2)]

    @tf.function
    def multiply() -> list[tf.Tensor]:
        products = []
        for given, hidden, gradient, scores, first, second, classifier in streams:
            products += [
                tf.matmul(given, first),
                tf.matmul(hidden, second),
                tf.matmul(hidden, classifier, transpose_b=True),
                tf.matmul(scores, classifier),
                tf.matmul(scores, hidden, transpose_a=True),
                tf.matmul(hidden, gradient, transpose_a=True),
                tf.matmul(gradient, second, transpose_b=True),
                tf.matmul(given, gradient, transpose_a=True),
            ]
        return [product[0, 0] for product in products]

    multiply()
    return lambda: seconds(multiply)


def make_losses(batch: dict[str, Any]) -> Callable[[], float]:
    """A function that measures all losses and their gradients down to T-CAMs and features, and the centers' update."""
    model = ThreeCNet(FLAGS.num_classes, FLAGS.feature_dim)
    model.compile()
    outputs = model(batch["features"])
    inputs = {name: value.flat_values for name, value in outputs.items()}

    @tf.function
    def gradients() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            given = {name: outputs[name].with_flat_values(rows) for name, rows in inputs.items()}
            asked = model.loss_inputs(batch, given, 0)
            loss = model.objective.loss([term.compute(asked).total for term in model.objective.terms], 0)
        found = [tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, list(inputs.values()))]
        for term in model.objective.terms:
            term.after_step(asked, model.centers)
        return [gradient[0, 0] for gradient in found]

    gradients()
    return lambda: seconds(gradients)


def padded_batch(batch: dict[str, Any]) -> dict[str, Any]:
    """The same videos, all as long as the longest, with zero rows."""
    dense = batch["features"].to_tensor()
    return {**batch, "features": tf.RaggedTensor.from_tensor(dense)}


def measure_batch(kind: str, batch: dict[str, Any]) -> dict[str, float]:
    """All ratios on one batch."""
    rows = int(batch["features"].flat_values.shape[0])
    operations = dense_operations(rows, FLAGS.feature_dim, FLAGS.num_classes)
    step = make_step(batch)
    floor = matmul_floor(rows, FLAGS.feature_dim)
    step_s, per_operation_s, ratio = median_ratio(step, floor, FLAGS.repeats)
    over_floor = ratio / operations
    _, _, products = median_ratio(make_products(rows, FLAGS.feature_dim, FLAGS.num_classes), floor, FLAGS.repeats)
    _, _, loss_share = median_ratio(make_losses(batch), step, FLAGS.repeats)
    padded_s, _, padded = median_ratio(make_step(padded_batch(batch)), step, FLAGS.repeats)
    bf16_s, _, bf16 = median_ratio(make_step(batch, "bfloat16"), step, FLAGS.repeats)
    rate = f"{operations / 1e9:.0f} GFLOP, matrix products at {1e-9 / per_operation_s:.0f} GFLOP/s"
    print(f"{kind}: {rows} segments, step {step_s:.3f} s, {rate}: step/floor {over_floor:.2f}", flush=True)
    print(f"  the dense layers' own products {products / operations:.2f} of the floor", flush=True)
    print(f"  losses and centers {100 * loss_share:.1f} % of the step", flush=True)
    print(f"  padded step {padded_s:.3f} s ({padded:.2f} x), bfloat16 step {bf16_s:.3f} s ({bf16:.2f} x)", flush=True)
    return {
        "step_over_floor": over_floor, "products": products / operations, "loss_share": loss_share, "padded": padded,
        "bf16": bf16, "step_s": step_s,
    }  # fmt: skip


def count_retracings() -> int:
    """Graphs traced by 8 batches of different lengths and sizes of videos, after the second."""
    model = ThreeCNet(FLAGS.num_classes, 16)
    model.compile()
    update = tf.function(model.update)
    traced = []
    for seed in range(10):
        lengths = thumos14_lengths(32, crop_segments=100 * (seed % 2), seed=seed) + seed
        batch = random_batch(
            lengths, feature_dim=16, num_classes=FLAGS.num_classes, full_length=bool(seed % 2), seed=seed
        )
        # As the input pipeline declares it: only the number of videos is known.
        dataset = tf.data.Dataset.from_tensors(batch).map(lambda element: element)
        update(next(iter(dataset)))
        traced.append(update.experimental_get_tracing_count())
    return traced[-1] - traced[1]


def length_table() -> dict[str, float]:
    """Segments per second of 8 videos of 1, 2, 4, 8 times THUMOS14's median length."""
    median = int(np.median(thumos14_lengths()))
    rates = {}
    for factor in (1, 2, 4, 8):
        batch = random_batch(
            np.full(8, median * factor), feature_dim=FLAGS.feature_dim, num_classes=FLAGS.num_classes, full_length=True
        )
        step = make_step(batch)
        rates[f"{factor}x"] = 8 * median * factor / statistics.median(step() for _ in range(3))
        print(f"{factor} x length: {rates[f'{factor}x']:.0f} segments/s", flush=True)
    return rates


def main(argv: Sequence[str]) -> None:
    """Measures everything and prints the result."""
    del argv
    if FLAGS.keep_memory:
        keep_freed_memory()
    sizes = {"feature_dim": FLAGS.feature_dim, "num_classes": FLAGS.num_classes}
    found = {}
    for kind, crop in ((CROPPED, 750), (FULL, 0)):
        batch = random_batch(thumos14_lengths(FLAGS.videos, crop), full_length=not crop, **sizes)
        found[kind] = measure_batch(kind, batch)

    def mean(name: str) -> float:
        return round(statistics.mean(of_batch[name] for of_batch in found.values()), 3)

    print(
        json.dumps(
            {
                "version": __version__,
                "device": (tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU"))[0].name,
                "cpus": os.cpu_count(),
                "step_over_floor": mean("step_over_floor"),
                "products_over_floor": mean("products"),
                "bf16_over_f32": mean("bf16"),
                "padded_over_ragged": mean("padded"),
                "loss_share": mean("loss_share"),
                "step_s": mean("step_s"),
                "step_over_floor_by_batch": {kind: round(v["step_over_floor"], 3) for kind, v in found.items()},
                "retracings": count_retracings(),
                "length_table": {name: round(rate) for name, rate in length_table().items()},
            }
        )
    )


if __name__ == "__main__":
    run_main(main, register_flags)
