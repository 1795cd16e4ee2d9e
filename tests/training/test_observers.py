"""What a logging interval reports, with hand-computed values, and how the terminal shows it."""

from __future__ import annotations

import dataclasses
import time

import pytest
import tensorflow as tf

from tc3net.evaluation import PROTOCOLS
from tc3net.losses import LossConfig, make_objective
from tc3net.training.observers import Evaluation, IntervalFacts, Observer, TerminalLog, hours
from tc3net.training.step_log import LogInterval

TERMS = make_objective(LossConfig(classification_tcams="fused", alpha=0.0))
FACTS = IntervalFacts(
    step=50,
    iterations=2050,
    means={"loss": 1.25},
    others={"learning_rate": 1e-4, "gradient_norm": 2.0},
    steps=20,
    seconds=4.0,
    input_wait_s=1.0,
    segments=300,
)


def step_values(loss: float, count: float, count_videos: float, segments: float) -> dict[str, tf.Tensor]:
    values = {"loss": loss, "count_positive": count, "count_videos": count_videos, "segments": segments, "norm": 2.0}
    return {name: tf.constant(value) for name, value in values.items()}


def test_speed_waiting_and_remaining_time_have_the_closed_form() -> None:
    assert FACTS.steps_per_second == 5
    assert FACTS.segments_per_second == 75
    assert FACTS.input_wait_share == 0.25
    assert FACTS.remaining_s == 400


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0:00:00"), (59.6, "0:01:00"), (3599, "0:59:59"), (360_061, "100:01:01")]
)
def test_hours(seconds: float, shown: str) -> None:
    assert hours(seconds) == shown


def test_the_terminal_gets_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    log = TerminalLog()
    log.on_start(0, None)
    log.on_start(40, "run/checkpoints/step-40")
    log.on_log(FACTS)
    log.on_evaluation(50, Evaluation({}, 0.5, "mAP 50 % | b: mAP 40 %", "mAP on x"), best=True)
    assert capsys.readouterr().out.splitlines() == [
        "Resuming after step 40 (run/checkpoints/step-40).",
        "step   50/2050  loss 1.25  5.00 steps/s  75 segments/s  waiting for input 25 %  ETA 0:06:40",
        "    learning_rate 0.0001",
        "evaluation at step 50: mAP 50 %",
        "    b: mAP 40 %",
        "    (best so far by mAP on x)",
    ]


def test_no_line_is_longer_than_100_columns(capsys: pytest.CaptureFixture[str]) -> None:
    """Every term of every loss, long runs, four protocols on two subsets."""
    names = ("loss", *(f"classification_of_stream_{i}" for i in range(12)))
    log = TerminalLog()
    log.on_log(
        IntervalFacts(50_000, 1_000_000, dict.fromkeys(names, 1.2345e-5), {"learning_rate": 1e-4}, 50, 1e4, 1, 9)
    )
    subset = "; ".join(f"{p} mAP@0.5 12.3 %, mAP@0.1:0.7 12.3 %" for p in PROTOCOLS)
    log.on_evaluation(50_000, Evaluation({}, 0.5, f"held-out videos: {subset} | test: {subset}", "x"), best=True)
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 100
    for name in names:
        assert f"{name} 1.234e-05" in printed
    assert printed.count("thumos14_kit mAP@0.5 12.3 %, mAP@0.1:0.7 12.3 %") == 2


def test_an_observer_may_ignore_everything() -> None:
    observer = Observer()
    observer.on_start(0, None)
    observer.on_log(FACTS)
    observer.on_evaluation(0, Evaluation({}, 0.0, ""), best=False)
    observer.on_end(0)


def test_count_terms_are_averaged_over_the_steps_with_counts() -> None:
    interval = LogInterval()
    interval.add(step_values(1.0, 99.0, 0.0, 10.0), wait_s=0.25)
    interval.add(step_values(2.0, 4.0, 3.0, 20.0), wait_s=0.5)
    facts = interval.facts(2, 10, TERMS)
    assert facts.means == {"loss": 1.5, "count_positive": 4.0}
    assert facts.others == {"norm": 2.0}
    assert (facts.step, facts.iterations, facts.steps, facts.segments, facts.input_wait_s) == (2, 10, 2, 30, 0.75)
    without_counts = LogInterval()
    without_counts.add(step_values(1.0, 0.0, 0.0, 10.0), wait_s=0)
    assert without_counts.facts(1, 10, TERMS).means == {"loss": 1.0}


def test_a_restored_interval_has_the_same_means_and_only_its_own_speed() -> None:
    first, whole = LogInterval(), LogInterval()
    for interval in (first, whole):
        interval.add(step_values(0.1, 0.0, 0.0, 10.0), wait_s=1)
    second = LogInterval(first.state())
    for interval in (second, whole):
        interval.add(step_values(0.7, 0.3, 1.0, 5.0), wait_s=1)
    assert second.facts(2, 2, TERMS).means == whole.facts(2, 2, TERMS).means
    assert (second.facts(2, 2, TERMS).steps, second.facts(2, 2, TERMS).segments) == (1, 5)


def test_pauses_do_not_count_as_training_time() -> None:
    interval = LogInterval()
    interval.add(step_values(1.0, 0.0, 0.0, 1.0), wait_s=0)
    with interval.paused():
        time.sleep(0.3)
    assert interval.facts(1, 2, TERMS).seconds < 0.2


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_the_first_value_that_is_not_finite_is_found(bad: float) -> None:
    interval = LogInterval()
    for values in ((1.0, 2.0), (1.0, bad), (bad, bad), (1.0, 1.0)):
        interval.add(step_values(values[0], values[1], 1.0, 1.0), wait_s=0)
    assert interval.first_not_finite() == (2, ["count_positive"])
    finite = LogInterval()
    finite.add(step_values(1.0, 2.0, 1.0, 1.0), wait_s=0)
    assert finite.first_not_finite() is None


def test_facts_are_a_record(capsys: pytest.CaptureFixture[str]) -> None:
    TerminalLog().on_log(dataclasses.replace(FACTS, step=2050))
    assert "step 2050/2050" in capsys.readouterr().out
