"""Learning rates against their closed forms, in Keras's hands and across a restart."""

from __future__ import annotations

import json
import math

import keras
import pytest
import tensorflow as tf

from tc3net.common.errors import UserError
from tc3net.common.stack import learning_rate_of
from tc3net.optimization.schedules import ScheduleConfig, make_schedule

RATE = 0.02
STEPS = (0, 4, 9, 10, 55, 100, 200)


def expected(kind: str, step: int, warmup: int, decay_steps: int, factor: float) -> float:
    """The schedule in float64, as docs/training.md states it."""
    after = max(step - warmup, 0)
    if kind == "exponential":
        course = factor ** (after / decay_steps)
    elif kind == "cosine":
        wave = 0.5 * (1 + math.cos(math.pi * min(after / decay_steps, 1)))
        course = factor + (1 - factor) * wave
    else:
        course = 1.0
    return RATE * course * min(1.0, (step + 1) / (warmup + 1))


@pytest.mark.parametrize("kind", ["constant", "exponential", "cosine"])
@pytest.mark.parametrize("warmup", [0, 9])
@pytest.mark.parametrize("decay_steps", [0, 45])
def test_rates_have_the_closed_form(kind: str, warmup: int, decay_steps: int) -> None:
    """At the first step, during and at the end of the warm-up, in the middle, at the end, and beyond it."""
    config = ScheduleConfig(kind, warmup, decay_steps, 0.1)
    schedule = make_schedule(config, RATE, iterations=100)
    for step in STEPS:
        found = float(schedule(tf.constant(step, tf.int64))) if callable(schedule) else schedule
        wanted = expected(kind, step, warmup, decay_steps or 100 - warmup, 0.1)
        assert found == pytest.approx(wanted, rel=1e-5), step


def test_the_named_points_of_a_cosine_after_a_warm_up() -> None:
    """W = 9, 100 steps: a tenth of the rate at first, all of it at step 9, half the way down in the middle, the end."""
    schedule = make_schedule(ScheduleConfig("cosine", warmup_steps=9, learning_rate_decay=0.2), 1.0, 109)
    found = [float(schedule(tf.constant(step))) for step in (0, 9, 59, 109)]
    assert found == pytest.approx([0.1, 1.0, 0.6, 0.2], rel=1e-5)


def test_a_constant_rate_without_warm_up_stays_a_number() -> None:
    """So that `optimizer.learning_rate` can still be assigned."""
    assert make_schedule(ScheduleConfig(), RATE, 10) == RATE


@pytest.mark.parametrize("kind", ["constant", "exponential", "cosine"])
def test_a_schedule_survives_json(kind: str) -> None:
    schedule = make_schedule(ScheduleConfig(kind, warmup_steps=3), RATE, 20)
    optimizer = keras.optimizers.SGD(schedule)
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(optimizer)))
    twin = keras.saving.deserialize_keras_object(config)
    for step in (0, 3, 12):
        optimizer.iterations.assign(step)
        twin.iterations.assign(step)
        assert float(learning_rate_of(twin)) == float(learning_rate_of(optimizer)) == float(schedule(step))


def test_the_reported_rate_is_the_one_of_the_next_step() -> None:
    """SGD on a gradient of 1 moves a weight by exactly the rate; also after the iterations were set, as by a resume."""
    weight = tf.Variable(0.0)
    optimizer = keras.optimizers.SGD(make_schedule(ScheduleConfig("cosine", warmup_steps=2), 1.0, 10))
    optimizer.build([weight])
    for step in (0, 1, 2, 7):
        optimizer.iterations.assign(step)
        before, rate = float(weight), float(learning_rate_of(optimizer))
        optimizer.apply_gradients([(tf.constant(1.0), weight)])
        assert before - float(weight) == pytest.approx(rate, rel=1e-6)


def test_what_is_recorded_of_a_schedule() -> None:
    """A constant rate may be trained on with more iterations; a decaying one would be another schedule."""
    assert ScheduleConfig().acting(100) == ScheduleConfig().acting(200)
    cosine = ScheduleConfig("cosine", warmup_steps=10)
    assert cosine.acting(100).decay_steps == 90
    assert cosine.acting(200) != cosine.acting(100) == ScheduleConfig("cosine", 10, 90).acting(200)


def test_impossible_schedules_are_refused() -> None:
    with pytest.raises(UserError, match=r"--warmup_steps=10 leaves none of --iterations=10"):
        ScheduleConfig("cosine", warmup_steps=10).resolved_decay_steps(10)
    with pytest.raises(UserError, match=r"--learning_rate_decay=0.0 with --schedule=exponential"):
        ScheduleConfig("exponential", learning_rate_decay=0.0)
