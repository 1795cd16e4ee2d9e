"""Generated videos of a ball: where they move, and that nothing else tells the classes apart."""

from __future__ import annotations

import numpy as np

from data_prep.extraction.decoding import VideoFile
from data_prep.simulation.moving_patterns import (
    CLASSES,
    FPS,
    HEIGHT,
    WIDTH,
    Pattern,
    draw_patterns,
    frames_of,
    write_pattern,
)
from tests.support.needs import VIDEO, needs


def test_the_ball_moves_in_its_instances_alone():
    for label in CLASSES:
        pattern = Pattern("v", 2.4, ((label, 0.8, 1.6),), seed=1)
        frames = np.stack(list(frames_of(pattern))).astype(np.float32)
        assert frames.shape == (60, HEIGHT, WIDTH, 3)
        changes = np.abs(frames - frames[0]).mean((1, 2, 3))  # noise alone: the mean of |a - b|, 3.4
        assert changes[1:20].max() < 4.5 and changes[45:].max() < 4.5
        assert changes[21:39].mean() > changes[1:20].mean() + 0.5


def test_instances_lie_apart_and_classes_are_balanced():
    patterns = draw_patterns([f"v{number}" for number in range(12)], 1)
    assert patterns == draw_patterns([f"v{number}" for number in range(12)], 1)
    for pattern in patterns:
        times = [time for _, *span in pattern.instances for time in span]
        assert times == sorted(times) and times[0] > 0 and times[-1] < pattern.duration_s
        assert len({label for label, _, _ in pattern.instances}) == 2
    counts = [sum(label == name for p in patterns for label, _, _ in p.instances) for name in CLASSES]
    assert counts == [8, 8, 8]


@needs(VIDEO)
def test_the_file_is_one_that_browsers_play(tmp_path):
    write_pattern(tmp_path / "v.mp4", Pattern("v", 0.4, (), seed=2))
    with VideoFile(tmp_path / "v.mp4") as video:
        assert sum(1 for _ in video.frames()) == 0.4 * FPS
        assert (video.codec, video.pixel_format) == ("h264", "yuv420p")
