"""Optical flow: scenes whose motion is known, in any number of processes."""

from __future__ import annotations

import contextlib
import sys

import numpy as np
import pytest

from data_prep.extraction.flow import BOUND_PIXELS, FlowParameters, FlowPool, compute_flows, import_opencv
from tc3net.common.errors import UserError
from tests.support.needs import OPTICAL_FLOW, needs
from tests.support.video_files import texture

FAST = FlowParameters(warps=2)


def moved(step, count, height=48, width=64):
    """A picture that moves by `step` pixels a frame to the right."""
    picture = texture(height, width + step * count)
    return np.stack([picture[:, step * (count - number) : step * (count - number) + width] for number in range(count)])


@needs(OPTICAL_FLOW)
def test_a_still_scene_has_no_flow_and_noise_little():
    still = np.repeat(texture(48, 64)[None], 3, axis=0)
    assert not compute_flows(still, FAST).any()
    noisy = np.clip(still + np.random.default_rng(0).integers(-1, 2, still.shape), 0, 255).astype(np.uint8)
    assert np.abs(compute_flows(noisy, FAST) * BOUND_PIXELS).mean() < 0.1


@needs(OPTICAL_FLOW)
def test_flow_is_the_displacement_in_pixels_over_the_bound():
    flows = compute_flows(moved(2, 3), FAST)
    assert (flows.shape, flows.dtype) == ((2, 48, 64, 2), np.float32)
    inner = flows[:, 8:-8, 8:-8] * BOUND_PIXELS
    np.testing.assert_allclose(np.median(inner, axis=(0, 1, 2)), [2, 0], atol=0.1)
    upright = compute_flows(moved(2, 3).swapaxes(1, 2), FAST)[:, 8:-8, 8:-8] * BOUND_PIXELS
    np.testing.assert_allclose(np.median(upright, axis=(0, 1, 2)), [0, 2], atol=0.1)


@needs(OPTICAL_FLOW)
def test_a_square_moves_and_what_is_behind_it_does_not():
    background = texture(64, 64) // 4
    frames = np.repeat(background[None], 2, axis=0)
    square = texture(24, 24, seed=1) // 2 + 120
    for number, frame in enumerate(frames):
        frame[20:44, 16 + 3 * number : 40 + 3 * number] = square
    flow = compute_flows(frames, FlowParameters())[0] * BOUND_PIXELS
    np.testing.assert_allclose(np.median(flow[26:38, 22:34], axis=(0, 1)), [3, 0], atol=0.3)
    assert np.abs(flow[:10]).mean() < 0.2


@needs(OPTICAL_FLOW)
def test_large_displacements_are_cut(monkeypatch):
    class Far:
        def calc(self, first, second, flow):
            return np.stack([np.full(first.shape, 50.0), np.full(first.shape, -30.0)], -1).astype(np.float32)

    monkeypatch.setattr(import_opencv().optflow, "DualTVL1OpticalFlow_create", lambda **parameters: Far())
    flows = compute_flows(moved(1, 2), FAST)
    assert np.unique(flows[..., 0]).tolist() == [1.0]
    assert np.unique(flows[..., 1]).tolist() == [-1.0]


def test_parameters_are_opencvs_own():
    assert FlowParameters().describe() == {
        "method": "TV-L1 (OpenCV)", "bound_pixels": 20, "tau": 0.25, "data_weight": 0.15, "theta": 0.3, "scales": 5,
        "warps": 5, "epsilon": 0.01, "inner_iterations": 30, "outer_iterations": 10, "scale_step": 0.8, "gamma": 0.0,
        "median_filtering": 5,
    }  # fmt: skip
    with pytest.raises(UserError, match="flow_warps is 0"):
        FlowParameters(warps=0)


@needs(OPTICAL_FLOW)
@pytest.mark.parametrize("workers", [1, 2])
def test_each_frame_comes_with_its_flow_and_the_last_with_the_one_before(workers):
    parameters = FlowParameters(warps=1, scales=2)
    frames = [*moved(1, 19, 24, 32)]
    expected = compute_flows(np.stack(frames), parameters)
    with FlowPool(parameters, workers) as pool:
        for count in (0, 1, 2, 9, 19):  # chunks of 8
            pairs = list(pool.with_flows(iter(frames[:count]), contextlib.nullcontext))
            assert len(pairs) == count
            for number, (frame, flow) in enumerate(pairs):
                assert frame is frames[number]
                other = expected[min(number, count - 2)] if count > 1 else np.zeros((24, 32, 2))
                np.testing.assert_array_equal(flow, other)


def test_without_the_contrib_modules_the_cure_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", object())
    with pytest.raises(UserError, match=r"without its contrib modules.*pip install opencv-contrib-python-headless"):
        import_opencv()
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(UserError, match=r"OpenCV is not installed.*--streams=rgb"):
        FlowPool(FlowParameters(), 1)
