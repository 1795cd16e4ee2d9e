"""Tasks of uneven length on machines that fail: how long until the last one is done (docs/scale.md)."""

from __future__ import annotations

import heapq
import statistics
from collections import deque
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Cluster:
    """Machines that each do one task at a time and take the next one when they are free.

    Attributes:
        machines: how many.
        failure_every: mean hours between two failures of one machine (exponential), which lose the task under way: it
            begins again on the next free machine; 0: none fail.
        away: hours until a machine that failed is back.
    """

    machines: int
    failure_every: float = 0.0
    away: float = 0.0


@dataclass(frozen=True)
class Work:
    """What there is to do.

    Attributes:
        hours: per machine, if everything is shared equally.
        spread: σ of the logarithm of the tasks' times; 0: all are equal.
        start: hours that every task takes before it does anything.
    """

    hours: float
    spread: float = 0.0
    start: float = 0.0


def makespan(cluster: Cluster, durations: np.ndarray, rng: np.random.Generator) -> float:
    """Hours until the last task is done, if each machine takes the next task when it is free.

    Args:
        cluster: its machines.
        durations: [T] hours of each task, in the order in which they are taken.
        rng: draws the failures.
    """

    def failure(now: float) -> float:
        return now + rng.exponential(cluster.failure_every) if cluster.failure_every else np.inf

    waiting, free = deque(range(len(durations))), deque(range(cluster.machines))
    fails = [failure(0.0) for _ in range(cluster.machines)]
    events: list[
        tuple[float, int, int, int]
    ] = []  # time, machine that is free (or -1), task that is lost (or -1), done
    now, undone = 0.0, len(durations)
    while undone:
        while waiting and free:
            machine = free.popleft()
            while fails[machine] <= now:  # while it had nothing to do: it is back by now, or soon
                back = fails[machine] + cluster.away
                fails[machine] = failure(back)
                if back > now:
                    heapq.heappush(events, (back, machine, -1, 0))
                    break
            else:
                task = waiting.popleft()
                end = now + float(durations[task])
                if end <= fails[machine]:
                    heapq.heappush(events, (end, machine, -1, 1))
                else:
                    heapq.heappush(events, (fails[machine], -1, task, 0))
                    heapq.heappush(events, (fails[machine] + cluster.away, machine, -1, 0))
                    fails[machine] = failure(fails[machine] + cluster.away)
        now, machine, lost, done = heapq.heappop(events)
        undone -= done
        if machine >= 0:
            free.append(machine)
        if lost >= 0:
            waiting.appendleft(lost)
    return now


def median_excess(cluster: Cluster, work: Work, tasks_per_machine: int, seed: int, repeats: int) -> float:
    """Makespan over `work.hours`, the median of so many draws.

    The tasks' mean time is what makes the work's sum right whatever their number; a start comes on top.
    """
    found = []
    for repeat in range(repeats):
        rng = np.random.default_rng([seed, repeat, tasks_per_machine])
        tasks = cluster.machines * tasks_per_machine
        times = np.exp(work.spread * rng.standard_normal(tasks))
        times *= work.hours * cluster.machines / times.sum()
        found.append(makespan(cluster, times + work.start, rng) / work.hours)
    return statistics.median(found)
