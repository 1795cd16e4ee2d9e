"""The timeline picture, read back from the file: size, contents by colour, and positions along the time axis."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import matplotlib.colors
import matplotlib.image
import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tc3net.visualization.timeline import DETECTION, TRUTH, ClassTrack, bars_on_pixels, plot_timeline, to_pixels

EDGES = np.arange(21) * 0.64
TCAM = np.sin(np.arange(20) / 2).astype(np.float32)
SURE, UNSURE = (1.28, 3.2, 2.0), (7.68, 8.96, 1.0)


def track(
    tcam: np.ndarray = TCAM,
    thresholds: tuple[float, ...] = (0.1,),
    detections: tuple[tuple[float, float, float], ...] = (SURE, UNSURE),
    instances: tuple[tuple[float, float], ...] | None = ((1.28, 3.2),),
) -> ClassTrack:
    return ClassTrack("Jump", 0.87, tcam, thresholds, detections, instances)


def picture(path: Path, *tracks: ClassTrack, title: str = "video_1") -> np.ndarray:
    """[height, width, 3] in 0..1, of the picture drawn."""
    plot_timeline(path, title, EDGES, tracks)
    assert plt.get_fignums() == []
    return matplotlib.image.imread(path)[:, :, :3]


def where(image: np.ndarray, colour: str) -> np.ndarray:
    """[height, width] bool, the pixels of a colour."""
    return (np.abs(image - matplotlib.colors.to_rgb(colour)) < 0.02).all(axis=2)


def test_one_class_with_everything(tmp_path: Path) -> None:
    image = picture(tmp_path / "new" / "a.png", track())
    height, width, _ = image.shape
    assert 1000 < width < 2000
    assert 250 < height < 600
    ink = (image < 0.9).any(axis=2).mean()
    assert 0.01 < ink < 0.6
    assert where(image, DETECTION).any()
    assert where(image, TRUTH).any()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.png"]


def test_a_detection_lies_exactly_above_the_instance_it_matches(tmp_path: Path) -> None:
    image = picture(tmp_path / "a.png", track())
    detection, truth = where(image, DETECTION), where(image, TRUTH)
    columns = [np.flatnonzero(mask.any(axis=0)) for mask in (detection, truth)]
    assert abs(columns[0][0] - columns[1][0]) <= 1
    assert abs(columns[0][-1] - columns[1][-1]) <= 1
    assert np.flatnonzero(detection.any(axis=1))[-1] < np.flatnonzero(truth.any(axis=1))[0]


def test_bar_widths_are_proportional_to_time(tmp_path: Path) -> None:
    image = picture(tmp_path / "a.png", track(instances=((0.0, 12.8),)))
    whole = np.flatnonzero(where(image, TRUTH).any(axis=0))
    detected = np.flatnonzero(where(image, DETECTION).any(axis=0))
    pixels_per_s = len(whole) / 12.8
    assert len(detected) == pytest.approx((SURE[1] - SURE[0]) * pixels_per_s, abs=3)
    assert detected[0] - whole[0] == pytest.approx(SURE[0] * pixels_per_s, abs=3)


def test_without_annotation_there_is_no_ground_truth_bar(tmp_path: Path) -> None:
    image = picture(tmp_path / "a.png", track(instances=None))
    assert not where(image, TRUTH).any()
    assert where(image, DETECTION).any()
    annotated = picture(tmp_path / "b.png", track(instances=()))
    assert not where(annotated, TRUTH).any()
    assert (annotated != image).any()  # "0 instances" is not "no annotation"


def test_without_detections_there_is_no_detection_bar(tmp_path: Path) -> None:
    image = picture(tmp_path / "a.png", track(detections=()))
    assert not where(image, DETECTION).any()
    assert where(image, TRUTH).any()


def test_detections_of_equal_scores_are_all_drawn_as_certain(tmp_path: Path) -> None:
    one = picture(tmp_path / "a.png", track(detections=(SURE,)))
    two = picture(tmp_path / "b.png", track(detections=(SURE, (7.68, 9.6, 2.0))))
    assert where(two, DETECTION).sum() == pytest.approx(2 * where(one, DETECTION).sum(), rel=0.05)


@pytest.mark.parametrize("thresholds", [(), (0.3,), (-0.5, 0.3, 0.4)])
def test_constant_scores_and_filtered_out_classes_are_drawn(tmp_path: Path, thresholds: tuple[float, ...]) -> None:
    flat = track(np.full(20, 0.3, np.float32), thresholds, detections=(), instances=None)
    image = picture(tmp_path / "a.png", flat)
    assert 0.005 < (image < 0.9).any(axis=2).mean() < 0.6


def test_a_video_of_one_segment_is_drawn(tmp_path: Path) -> None:
    single = ClassTrack("Run", 1.0, np.ones(1, np.float32), (0.0,), [(0.0, 0.64, 1.0)], None)
    plot_timeline(tmp_path / "a.png", "short", EDGES[:2], [single])
    assert where(matplotlib.image.imread(tmp_path / "a.png")[:, :, :3], DETECTION).any()


def test_each_class_adds_a_panel(tmp_path: Path) -> None:
    heights = [picture(tmp_path / f"{n}.png", *[track()] * n).shape[0] for n in (1, 2, 4)]
    assert heights[1] - heights[0] == pytest.approx((heights[2] - heights[1]) / 2, abs=2)
    assert heights[1] > heights[0] + 150


def test_names_are_text_not_formulas(tmp_path: Path) -> None:
    plain = picture(tmp_path / "a.png", track(), title="$a$")
    assert (plain != picture(tmp_path / "b.png", track(), title="a")).any()
    assert (plain != picture(tmp_path / "c.png", track(), title=r"$\mathit{a}$")).any()
    picture(tmp_path / "d.png", track(), title=r"a_b $\frac{$ 5 $x$")
    picture(tmp_path / "e.png", replace(track(), name=r"Jump $\frac{$"))


def test_after_a_failure_the_old_picture_stays_and_no_figure_is_left_open(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    before = picture(path, track())
    with pytest.raises(ValueError, match="values"):
        plot_timeline(path, "video", EDGES, [track(tcam=TCAM[:7])])
    assert plt.get_fignums() == []
    np.testing.assert_array_equal(matplotlib.image.imread(path)[:, :, :3], before)
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("panels", [1, 4])
def test_the_legend_covers_no_panel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, panels: int) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    plot_timeline(tmp_path / "a.png", "video_1", EDGES, [track()] * panels)
    FigureCanvasAgg(drawn[0]).draw()
    (legend,) = drawn[0].legends
    assert len(legend.get_texts()) == 2
    assert not any(legend.get_window_extent().overlaps(axis.get_window_extent()) for axis in drawn[0].axes)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 500), st.integers(1, 40), st.integers(0, 99))
def test_a_long_curve_keeps_its_lowest_and_highest_value_of_every_pixel(length: int, pixels: int, seed: int) -> None:
    tcam = np.random.default_rng(seed).integers(0, 50, length).astype(np.float32)
    edges_s = np.arange(length + 1) * 0.5
    new_edges_s, values = to_pixels(edges_s, tcam, pixels)
    assert len(new_edges_s) == len(values) + 1
    assert len(values) <= 2 * pixels or len(values) == length <= 2 * pixels
    assert (new_edges_s[0], new_edges_s[-1]) == (edges_s[0], edges_s[-1]) and (np.diff(new_edges_s) > 0).all()
    if length > 2 * pixels:
        size = -(-length // pixels)
        for k, pair in enumerate(values.reshape(-1, 2)):
            group = tcam[k * size : (k + 1) * size]
            assert (min(pair), max(pair)) == (group.min(), group.max())
            assert new_edges_s[2 * k] == edges_s[k * size]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 300), st.integers(1, 20), st.integers(0, 99))
def test_of_many_bars_each_pixel_shows_the_most_certain(number: int, pixels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    starts_s = rng.uniform(0, 9, number)
    spans_s = [(a, min(a + b, 10.0)) for a, b in zip(starts_s, rng.exponential(0.3, number) + 1e-3)]
    certainty = rng.integers(0, 5, number) / 4
    cells_s = np.linspace(0, 10, pixels + 1)
    bars_s, shown = bars_on_pixels(cells_s, spans_s, certainty)
    if number <= 2 * pixels:
        assert bars_s is spans_s
        return
    assert len(bars_s) <= pixels
    for left_s, right_s in zip(cells_s, cells_s[1:]):
        over = [c for (a, b), c in zip(spans_s, certainty) if a < right_s and b > left_s]
        middle_s = (left_s + right_s) / 2
        here = [c for (a, b), c in zip(bars_s, shown) if a < middle_s < b]
        assert here == ([max(over)] if over else [])


def test_a_video_of_many_hours_is_drawn_in_no_time(tmp_path: Path) -> None:
    """It took a minute per 100 000 segments; now what is drawn does not depend on the length."""
    edges_s, tcam = np.arange(100_001) * 0.64, np.random.default_rng(0).normal(size=100_000).astype(np.float32)
    found = [(float(a), float(a) + 0.64, 1.0) for a in edges_s[:-1:5]]
    began = time.process_time()
    plot_timeline(tmp_path / "a.png", "long", edges_s, [ClassTrack("Jump", 0.9, tcam, (0.1,), found, None)])
    assert time.process_time() - began < 10  # 1 or 2 s
