"""Segments to seconds and back: closed forms, and properties over many time bases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tc3net.common.errors import UserError
from tc3net.data.timebase import TimeBase, boundaries_s

FPS = st.sampled_from([10.0, 15.0, 19.62, 23.976, 24.0, 24000 / 1001, 25.0, 29.97, 30.0, 30000 / 1001, 50.0, 59.94])
TIME_BASES = st.builds(TimeBase, FPS | st.floats(1, 240), st.integers(1, 128), st.integers(1, 128))


@pytest.mark.parametrize("boundary", [0, 1, 2, 7, 321, 7303])
def test_without_overlap_boundary_b_lies_at_b_times_16_over_fps(boundary: int) -> None:
    assert TimeBase().boundary_s(boundary) == boundary * 16 / 25
    assert TimeBase(fps=30.0).boundary_s(boundary) == boundary * 16 / 30


def test_an_overlapping_cell_is_centred_on_its_frames() -> None:
    base = TimeBase(fps=10.0, frames_per_segment=16, stride_frames=4)
    # Segment 3 is computed from frames 12 to 28, whose centre is frame 20; its cell is frames 18 to 22.
    assert (base.boundary_s(3), base.boundary_s(4)) == (1.8, 2.2)
    sparse = TimeBase(fps=10.0, frames_per_segment=16, stride_frames=20)
    # A stride beyond the segment: frames 20 to 36, centre 28, cell 18 to 38.
    assert (sparse.boundary_s(1), sparse.boundary_s(2)) == (1.8, 3.8)


@settings(deadline=None, max_examples=100)
@given(TIME_BASES, st.integers(1, 5000))
def test_cells_tile_the_video_and_leave_the_same_margin_at_both_ends(base: TimeBase, segments: int) -> None:
    edges = boundaries_s(np.arange(segments + 1), **vars(base))
    np.testing.assert_allclose(np.diff(edges), base.stride_frames / base.fps, rtol=1e-9)
    centres = (np.arange(segments) * base.stride_frames + base.frames_per_segment / 2) / base.fps
    np.testing.assert_allclose((edges[:-1] + edges[1:]) / 2, centres, rtol=1e-9)
    assert edges[0] == pytest.approx(base.duration_s(segments) - edges[-1], rel=1e-9, abs=1e-9)


def test_boundaries_of_several_videos_use_each_ones_time_base() -> None:
    found = boundaries_s(
        np.array([0, 3, 3]),
        fps=np.array([25.0, 30.0, 10.0]),
        frames_per_segment=np.array([16, 16, 16]),
        stride_frames=np.array([16, 16, 8]),
    )
    assert found.dtype == np.float64
    assert found.tolist() == [0.0, 48 / 30, 2.8]


@pytest.mark.parametrize(
    ("time_s", "expected"), [(0.0, 0), (0.32, 0), (0.33, 1), (0.96, 2), (0.95, 1), (1.6, 2), (2.24, 4), (0.64, 1)]
)
def test_the_grid_rounds_halves_to_even(time_s: float, expected: int) -> None:
    assert TimeBase().grid_index(np.array(time_s)) == expected


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 5000), min_size=1, max_size=20))
def test_the_grid_is_python_rounding_of_segments(times: list[float]) -> None:
    found = TimeBase().grid_index(np.array(times))
    assert found.tolist() == [round(time * 25 / 16) for time in times]


@settings(deadline=None, max_examples=200)
@given(TIME_BASES, st.integers(1, 100_000))
def test_num_segments_is_the_inverse_of_duration(base: TimeBase, segments: int) -> None:
    assert base.num_segments(base.duration_s(segments)) == segments
    half_a_frame_short = base.duration_s(segments) - 0.5 / base.fps
    assert base.num_segments(half_a_frame_short) == segments - 1


def test_durations_in_closed_form() -> None:
    assert TimeBase().duration_s(10) == 6.4
    assert TimeBase(fps=10.0, frames_per_segment=16, stride_frames=4).duration_s(3) == 2.4
    assert [TimeBase().num_segments(d) for d in (0.0, 0.63, 0.64, 1.27, 1.28, 205.0)] == [0, 0, 1, 1, 2, 320]
    assert TimeBase(frames_per_segment=64, stride_frames=16).num_segments(0.1) == 0


@pytest.mark.parametrize("name", ["fps", "frames_per_segment", "stride_frames"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_impossible_values_are_refused_by_the_name_of_their_flag(name: str, value: float) -> None:
    with pytest.raises(UserError, match=f"--{name}"):
        TimeBase(**{name: value})


@settings(deadline=None, max_examples=100)
@given(TIME_BASES, st.integers(1, 64), st.integers(0, 5000))
def test_parts_of_a_cell_begin_and_end_with_it(base: TimeBase, parts: int, segment: int) -> None:
    whole = boundaries_s(np.array([segment, segment + 1]), **vars(base))
    cells = boundaries_s(np.arange(segment * parts, (segment + 1) * parts + 1), **vars(base), cells_per_segment=parts)
    assert cells[0] == whole[0]  # exactly: a boundary between segments is one number, however finely they are divided
    assert cells[-1] == whole[1]
    np.testing.assert_allclose(np.diff(cells), base.stride_frames / base.fps / parts, rtol=1e-6)
