"""Optical flow, TV-L1 as OpenCV's contrib modules compute it, in processes of their own or in threads.

Flow k leads from frame k to frame k + 1; the last frame, which has none after it, takes the flow before. Displacements
are cut at 20 pixels (of frames whose short side is 256) and divided by that, as the I3D flow network was trained.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from multiprocessing import resource_tracker
from typing import Any

import numpy as np

from tc3net.common.errors import UserError
from tc3net.terminal.interrupt import not_for_children

BOUND_PIXELS = 20
_CHUNK = 8  # flows that a process computes at a time
_AHEAD = 2  # chunks handed over per process


@dataclass(frozen=True)
class FlowParameters:
    """Parameters of TV-L1; the defaults are OpenCV's, written down so that they stay (its names in brackets).

    Attributes:
        tau: time step of the numerical scheme.
        data_weight: of the data term; smaller is smoother (lambda).
        theta: tightness of the coupling between both terms.
        scales: levels of the image pyramid (nscales).
        warps: linearisations per level; 1 takes half the time of 5 and moves flows by 0.03 pixels in the mean.
        epsilon: change at which the iterations end.
        inner_iterations, outer_iterations: at most so many.
        scale_step: ratio of neighbouring levels.
        gamma: weight of illumination; 0 for none.
        median_filtering: side of the median filter.
    """

    tau: float = 0.25
    data_weight: float = 0.15
    theta: float = 0.3
    scales: int = 5
    warps: int = 5
    epsilon: float = 0.01
    inner_iterations: int = 30
    outer_iterations: int = 10
    scale_step: float = 0.8
    gamma: float = 0.0
    median_filtering: int = 5

    def __post_init__(self) -> None:
        if self.warps < 1:
            raise UserError(f"flow_warps is {self.warps}; expected 1 or more. Set --flow_warps.")

    def describe(self) -> dict[str, Any]:
        """As the side files say it."""
        return {"method": "TV-L1 (OpenCV)", "bound_pixels": BOUND_PIXELS, **asdict(self)}


def import_opencv() -> Any:
    """OpenCV with its contrib modules.

    Raises:
        UserError: it is not installed, or installed without them.
    """
    try:
        opencv = importlib.import_module("cv2")
    except ImportError:
        opencv = None
    if not hasattr(getattr(opencv, "optflow", None), "DualTVL1OpticalFlow_create"):
        found = "OpenCV is not installed" if opencv is None else "OpenCV is installed without its contrib modules"
        raise UserError(
            f"{found}; expected them for optical flow. Run `pip uninstall opencv-python opencv-python-headless`, then "
            "`pip install opencv-contrib-python-headless` (or `pip install tc3net[flow]`), which holds all of OpenCV; "
            "or extract rgb alone: --streams=rgb."
        )
    return opencv


def compute_flows(frames: np.ndarray, parameters: FlowParameters) -> np.ndarray:
    """Flows between neighbouring frames.

    Args:
        frames: [n + 1, H, W, 3], uint8, rgb.
        parameters: of TV-L1.

    Returns:
        [n, H, W, 2], float32 in [-1, 1], horizontal displacement first; zero between equal frames.
    """
    opencv = import_opencv()
    opencv.setNumThreads(1)  # there is a process for each core
    p = parameters
    method = opencv.optflow.DualTVL1OpticalFlow_create(
        tau=p.tau, lambda_=p.data_weight, theta=p.theta, nscales=p.scales, warps=p.warps, epsilon=p.epsilon,
        innnerIterations=p.inner_iterations, outerIterations=p.outer_iterations, scaleStep=p.scale_step,
        gamma=p.gamma, medianFiltering=p.median_filtering, useInitialFlow=False,
    )  # fmt: skip
    grey = [opencv.cvtColor(frame, opencv.COLOR_RGB2GRAY) for frame in frames]
    flows = np.zeros((len(frames) - 1, *frames.shape[1:3], 2), np.float32)
    for index, (first, second) in enumerate(zip(grey, grey[1:])):
        if not np.array_equal(first, second):  # a repeated frame
            flows[index] = method.calc(first, second, None)
    return np.clip(flows, -BOUND_PIXELS, BOUND_PIXELS) / BOUND_PIXELS


class FlowPool:
    """Processes that compute flows; a context manager that ends them.

    In a process that may not have children, such as a worker that Dask's nanny watches, they are threads.

    Args:
        parameters: of TV-L1.
        num_workers: processes.

    Raises:
        UserError: OpenCV's contrib modules are not installed.
    """

    def __init__(self, parameters: FlowParameters, num_workers: int) -> None:
        import_opencv()
        self.parameters, self.num_workers = parameters, num_workers
        self._pool: Executor
        if multiprocessing.current_process().daemon:
            self._pool = ThreadPoolExecutor(num_workers)
            return
        # Spawned: TensorFlow's threads do not survive a fork.
        context = multiprocessing.get_context("spawn")
        resource_tracker.ensure_running()  # before: starting it would make `not_for_children` end too early
        self._pool = ProcessPoolExecutor(num_workers, context, _initialize)

    def __enter__(self) -> FlowPool:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def with_flows(
        self, frames: Iterable[np.ndarray], waiting: Callable[[], contextlib.AbstractContextManager[None]]
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Pairs of a frame [H, W, 3] and its flow [H, W, 2], in order; the same for any number of processes.

        Args:
            frames: of one video, in order.
            waiting: a context that is entered while flows are waited for.

        Raises:
            UserError: a process was ended from outside.
        """
        pending: deque[tuple[list[np.ndarray], Future[np.ndarray]]] = deque()
        held: list[np.ndarray] = []
        flow: np.ndarray | None = None
        try:
            for frame in frames:
                held.append(frame)
                if len(held) > _CHUNK:
                    pending.append((held[:-1], self._submit(held)))
                    held = held[-1:]
                if len(pending) > _AHEAD * self.num_workers:
                    for one, flow in self._taken(*pending.popleft(), waiting):
                        yield one, flow
            if held:
                pending.append((held, self._submit(held)))
            while pending:
                for one, flow in self._taken(*pending.popleft(), waiting):
                    yield one, flow
            if held:
                yield held[-1], np.zeros((*held[-1].shape[:2], 2), np.float32) if flow is None else flow
        except BrokenProcessPool:
            raise UserError(
                f"one of {self.num_workers} processes that compute optical flow was ended from outside (out of "
                "memory?); expected all to run to the end. Run the same command again, with fewer --flow_workers."
            ) from None

    @staticmethod
    def _taken(
        frames: list[np.ndarray],
        future: Future[np.ndarray],
        waiting: Callable[[], contextlib.AbstractContextManager[None]],
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        with waiting():
            flows = future.result()
        yield from zip(frames, flows)

    def _submit(self, frames: list[np.ndarray]) -> Future[np.ndarray]:
        with not_for_children():  # the pool starts its processes when it is given tasks
            return self._pool.submit(compute_flows, np.stack(frames), self.parameters)


def _initialize() -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
