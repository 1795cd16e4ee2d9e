"""The paper model of docs/scale.md: closed forms, and that the page shows what the script prints."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from studies.scale_model import (
    GRADIENT_BYTES,
    Site,
    Stage,
    cost_table,
    first_bottlenecks,
    machine_table,
    number,
    stages,
    straggler_table,
)
from studies.scale_simulation import Cluster, Work, makespan, median_excess

PAGE = (Path(__file__).parents[2] / "docs" / "scale.md").read_text(encoding="utf-8")


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize(("tasks", "machines"), [(1, 1), (7, 3), (9, 3), (10, 3), (2, 5), (1000, 32)])
def test_equal_tasks_take_as_many_rounds_as_there_have_to_be(tasks: int, machines: int) -> None:
    assert makespan(Cluster(machines), np.full(tasks, 2.5), rng()) == 2.5 * math.ceil(tasks / machines)


def test_without_spread_only_the_start_is_lost() -> None:
    """k tasks on each machine: k starts. One task per machine more than needed costs nothing."""
    for each in (1, 4, 16):
        found = median_excess(Cluster(10), Work(hours=8, start=0.5), each, seed=0, repeats=2)
        assert found == pytest.approx(1 + each * 0.5 / 8)


def test_makespans_by_hand() -> None:
    # In turn: machine 0 takes 4, machine 1 takes 1, then 2 (until 3), then 5 (until 8).
    assert makespan(Cluster(2), np.array([4.0, 1, 2, 5]), rng()) == 8
    # One machine does everything; the longest task is a bound however many machines there are.
    assert makespan(Cluster(1), np.array([4.0, 1, 2, 5]), rng()) == 12
    assert makespan(Cluster(99), np.array([4.0, 1, 2, 5]), rng()) == 5


def test_a_machine_that_fails_begins_the_task_again() -> None:
    """A task of length d under failures at rate r takes (e^(rd) - 1) (1/r + time away) in the mean."""
    cluster, draws = Cluster(1, failure_every=4.0, away=0.5), rng()
    found = np.mean([makespan(cluster, np.array([2.0]), draws) for _ in range(4000)])
    assert found == pytest.approx((math.exp(2 / 4) - 1) * (4 + 0.5), rel=0.05)


def test_a_lost_task_is_done_by_a_machine_that_is_free() -> None:
    """The machine that fails never comes back: the other one does both tasks."""

    class Failures:
        """Machine 0 fails after 1.5 hours; nothing else does."""

        def __init__(self) -> None:
            self.left = [1.5]

        def exponential(self, mean: float) -> float:
            return self.left.pop() if self.left else math.inf

    cluster = Cluster(2, failure_every=1.0, away=1e9)
    assert makespan(cluster, np.array([2.0, 1.0]), Failures()) == 1.5 + 2.0  # type: ignore[arg-type]


def test_arithmetic_by_hand() -> None:
    by_name = {stage.name: stage for stage in stages(1e6, Site())}
    assert by_name["score"].stored_bytes == pytest.approx(1e6 * 3600 * 25 / 16 * 2 * 1024 * 2)  # 23.04 TB
    assert by_name["flow (TV-L1)"].core_s == pytest.approx(2 * 9e10 / 1.05)
    assert by_name["train, one epoch"].gpu_s == pytest.approx(5.625e9 / 20313 * 0.036)
    assert GRADIENT_BYTES == 17_621_800
    stage = Stage("any", core_s=320, gpu_s=50, stored_bytes=1e12, exchanged_bytes=2e12)
    site = Site(cores=16, network_bytes_per_s=1e9, storage_bytes_per_s=5e9)
    assert stage.resources(site, 10) == {"CPU": 2.0, "GPU": 5.0, "network": 300.0, "storage": 200.0}
    assert stage.limit(site, 10) == ("network", 300.0)
    assert stage.limit(site, 1000) == ("storage", 200.0)


def test_the_gradient_is_that_of_the_model() -> None:
    from tc3net.model import ThreeCNet

    model = ThreeCNet(101, 8)
    kernels = sum(int(np.prod(v.shape)) for v in model.trainable_variables if len(v.shape) == 2)
    assert kernels == 2 * (2 * 8 * 8 + 101 * 8)


@pytest.mark.parametrize(
    ("value", "shown"), [(0, "0"), (23.04, "23.0"), (0.6401, "0.640"), (157.4, "157"), (47_619_047, "47 600 000")]
)
def test_numbers_have_three_digits(value: float, shown: str) -> None:
    assert number(value) == shown


def test_the_page_shows_what_the_script_prints() -> None:
    for text in (cost_table(1e6, Site()), machine_table(1e6, Site()), first_bottlenecks(1e6, Site())):
        assert text in PAGE
    # Rows of few tasks; the others take seconds. The seed and the repeats are the flags' defaults.
    for line in straggler_table(0, 3, (1, 2, 4)).splitlines():
        assert line in PAGE.splitlines()
