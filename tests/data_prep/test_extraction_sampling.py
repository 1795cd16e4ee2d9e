"""Which frames of a video become which rows: times, rates, sizes, crops, and files that are not whole."""

from __future__ import annotations

import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.extraction.clips import Stopwatch, segment_clips
from data_prep.extraction.decoding import MAX_HOLE_S, Resizer, VideoFile
from data_prep.extraction.sampling import Sampling, Timed, crops, resample, scaled, segments
from tc3net.common.errors import UserError
from tc3net.data.timebase import TimeBase
from tests.support.needs import REAL_FILES, REAL_VIDEOS, VIDEO, needs
from tests.support.video_files import grey_levels, stretched, texture, turned_clockwise, write_video


def timed(starts, end):
    return [
        Timed(number, Fraction(start), Fraction(after))
        for number, (start, after) in enumerate(zip(starts, [*starts[1:], end]))
    ]


def test_frames_at_the_rate_asked_for_are_taken_as_they_are():
    starts = [Fraction(number, 25) for number in range(40)]
    assert list(resample(timed(starts, Fraction(40, 25)), 25.0)) == list(range(40))


def test_frames_are_dropped_and_repeated_by_time():
    thirty = timed([Fraction(number, 30) for number in range(60)], 2)
    assert len(list(resample(thirty, 25.0))) == 50
    fifty = timed([Fraction(number, 50) for number in range(10)], Fraction(10, 50))
    # 0 at tick 0; 1 at tick 0.5, which is rounded up to 1, where 2 follows it
    assert list(resample(fifty, 25.0)) == [0, 2, 4, 6, 8]
    hole = timed([0, Fraction(1, 25), Fraction(5, 25)], Fraction(6, 25))
    assert list(resample(hole, 25.0)) == [0, 1, 1, 1, 1, 2]


def test_times_that_go_back_do_not_turn_the_order():
    frames = [
        Timed(0, Fraction(0), Fraction(1)),
        Timed(1, Fraction(3), Fraction(4)),
        Timed(2, Fraction(1), Fraction(2)),
    ]
    assert list(resample(frames, 1.0)) == [0, 0, 0, 2]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(1, 200), min_size=1, max_size=40),
    st.sampled_from([25.0, 29.97, 30.0, 10.0, 12.5]),
)
def test_each_tick_has_the_latest_frame_that_is_not_after_it(steps, fps):
    stamps = np.cumsum([0, *steps])
    starts, end = [Fraction(int(stamp), 1000) for stamp in stamps[:-1]], Fraction(int(stamps[-1]), 1000)
    ticks = np.array([int(np.floor(start * Fraction(str(fps)) + Fraction(1, 2))) for start in starts])
    count = int(np.floor(end * Fraction(str(fps)) + Fraction(1, 2)))
    expected = [int(np.flatnonzero(ticks <= tick)[-1]) for tick in range(count)]
    assert list(resample(timed(starts, end), fps)) == expected


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 60), st.integers(1, 20), st.integers(1, 25))
def test_segments_are_those_of_the_time_base(count, length, stride):
    sampling = Sampling(frames_per_segment=length, stride_frames=stride)
    found = [segment.tolist() for segment in segments(map(np.asarray, range(count)), sampling)]
    rows = TimeBase(25.0, length, stride).num_segments(count / 25)
    assert found == [list(range(row * stride, row * stride + length)) for row in range(rows)]


def test_crops_lie_where_they_should_and_mirrors_turn_horizontal_flow():
    image = np.arange(6 * 8 * 2, dtype=np.float32).reshape(6, 8, 2)
    sampling = Sampling(short_side=6, size=4)
    np.testing.assert_array_equal(crops(image, sampling), image[None, 1:5, 2:6])
    ten = crops(image, Sampling(short_side=6, size=4, crops=10), is_flow=True)
    np.testing.assert_array_equal(
        ten[:5], [image[1:5, 2:6], image[:4, :4], image[:4, 4:], image[2:, :4], image[2:, 4:]]
    )
    np.testing.assert_array_equal(ten[5:, ..., 0], -ten[:5, :, ::-1, 0])
    np.testing.assert_array_equal(ten[5:, ..., 1], ten[:5, :, ::-1, 1])


def test_black_and_white_become_the_ends_of_the_range():
    values = np.array([0, 255, 51], np.uint8)
    np.testing.assert_allclose(scaled(values, Sampling()), [-1, 1, -0.6], atol=1e-6)
    np.testing.assert_allclose(scaled(values, Sampling(low=0.0, high=255.0)), [0, 255, 51], atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 300}, "a crop of 300 pixels from a short side of 256"),
        ({"crops": 3}, "crops is 3; expected 1 or 10"),
        ({"fps": 0.0}, "fps is 0.0"),
        ({"stride_frames": 0}, "stride_frames is 0"),
    ],
)
def test_sampling_that_cannot_be_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        Sampling(**changes)


def levels(path, fps=25.0):
    """The grey of each sampled frame, as the number of `grey_levels`, and what was decoded."""
    resize = Resizer(16)
    with VideoFile(path) as video:
        found = [round((float(resize(frame).mean()) - 10) / 3) for frame in resample(video.frames(), fps)]
        return found, video.decoded


@needs(VIDEO)
def test_a_file_is_sampled_as_ffmpeg_does(tmp_path):
    import av

    stamps = np.cumsum([0, *np.random.default_rng(0).integers(5, 150, 29)]).tolist()
    path = write_video(tmp_path / "variable.mkv", grey_levels(30), stamps=stamps, codec="ffv1")
    found, decoded = levels(path)
    assert (decoded.frames, decoded.damaged, decoded.is_whole) == (30, 0, True)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        graph = av.filter.Graph()
        graph.link_nodes(graph.add_buffer(template=stream), graph.add("fps", "fps=25"), graph.add("buffersink"))
        graph.configure()
        expected = []
        for frame in [*container.decode(stream), None]:
            graph.push(frame)
            while True:
                try:
                    expected.append(round((graph.pull().to_ndarray(format="rgb24").mean() - 10) / 3))
                except (av.BlockingIOError, av.EOFError):
                    break
    assert found[: len(expected)] == expected
    assert len(found) - len(expected) in (0, 1)  # the last frame's duration, which the filter is not told


@needs(VIDEO)
def test_rotation_odd_sizes_and_narrow_frames(tmp_path):
    picture = texture(50, 66)
    picture[:25] //= 4  # dark above
    path = write_video(tmp_path / "turned.mp4", [picture] * 3)
    with VideoFile(path) as video:
        upright = Resizer(50)(next(video.frames()).frame)
    with VideoFile(turned_clockwise(path)) as video:
        turned = Resizer(50)(next(video.frames()).frame)
    assert (upright.shape, turned.shape) == ((50, 66, 3), (66, 50, 3))
    np.testing.assert_array_equal(turned, np.rot90(upright, -1))
    assert turned[:, 25:].mean() < turned[:, :25].mean()  # what was above is at the right
    odd = write_video(tmp_path / "odd.mkv", [texture(37, 53)] * 2, codec="ffv1")
    with VideoFile(odd) as video:
        assert Resizer(24)(next(video.frames()).frame).shape == (24, 34, 3)  # 53 * 24 / 37 = 34.4


@needs(VIDEO)
def test_pixels_become_square(tmp_path):
    """48 x 64 pixels, each half as wide again as high, are a picture of 48 x 96."""
    path = stretched(tmp_path / "wide.mkv", [texture(48, 64)] * 16, 3, 2)
    with VideoFile(path) as video:
        assert video.pixel_aspect == Fraction(3, 2)
        clips = next(segment_clips(video, Sampling(short_side=24, size=24), ["rgb"], None, 0, Stopwatch()))
    with VideoFile(path) as video:
        frame = next(video.frames()).frame
        wide = Resizer(24, video.pixel_aspect)(frame)
        assert wide.shape == (24, 48, 3)
        shown = scaled(wide[:, 12:36], Sampling())
        np.testing.assert_allclose(clips["rgb"][0, 0], shown, atol=0.1)
        assert Resizer(24, Fraction(1, 2))(frame).shape == (36, 24, 3)  # 32 x 48
    with pytest.raises(UserError, match="pixels 12 times as wide as high; expected at most 10 times"):
        VideoFile(stretched(tmp_path / "damaged.mkv", [texture(48, 64)], 12, 1))


@needs(VIDEO)
def test_interlaced_frames_are_counted(tmp_path):
    frames = [texture(64, 64, number) for number in range(8)]
    for options, count in (({"flags": "+ildct+ilme"}, 8), ({}, 0)):
        path = write_video(tmp_path / "a.mkv", frames, codec="mpeg2video", encoder=options)
        with VideoFile(path) as video:
            assert len(list(video.frames())) == 8
            assert (video.decoded.interlaced, video.decoded.is_whole) == (count, True)
            assert video.decoded.as_dict()["interlaced"] == count


@needs(VIDEO)
def test_a_truncated_file_gives_what_is_there_and_says_how_much(tmp_path):
    frames = [texture(64, 64, number) for number in range(50)]
    path = write_video(tmp_path / "whole.mp4", frames)
    whole = path.read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: len(whole) // 2])
    with VideoFile(cut) as video:
        count = sum(1 for _ in video.frames())
        assert 10 < count < 40
        assert not video.decoded.is_whole
        assert float(video.decoded.duration_s) == pytest.approx(count / 25)
        assert video.decoded.describe().startswith(f"{count} frames, {count / 25:.2f} of 2.00 s")
    damaged = bytearray(whole)
    damaged[len(whole) // 3 : len(whole) // 2] = np.random.default_rng(0).bytes(len(whole) // 2 - len(whole) // 3)
    cut.write_bytes(damaged)
    with VideoFile(cut) as video:
        assert sum(1 for _ in video.frames()) >= 10
        assert not video.decoded.is_whole


@needs(VIDEO)
def test_what_is_no_video_is_said(tmp_path):
    import av

    (tmp_path / "text.mp4").write_text("no video at all")
    with av.open(str(tmp_path / "sound.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    (tmp_path / "no_index.mp4").write_bytes(write_video(tmp_path / "whole.mp4", grey_levels(20)).read_bytes()[:300])
    for name, message in (
        ("text.mp4", "cannot be opened as a video"),
        ("sound.wav", "no video stream in it"),
        ("no_index.mp4", "no video stream in it.*if it was cut off"),
        ("absent.mp4", "cannot be opened as a video"),
    ):
        with pytest.raises(UserError, match=f"{name}: {message}"), VideoFile(tmp_path / name):
            pass
    far = write_video(tmp_path / "far.mkv", grey_levels(2), stamps=[0, 1000 * (MAX_HOLE_S + 2)], codec="ffv1")
    with pytest.raises(UserError, match="time stamps jump from"), VideoFile(far) as video:
        list(video.frames())


@needs(VIDEO)
def test_memory_does_not_grow_with_the_length(tmp_path):
    def peak(count):
        path = write_video(tmp_path / f"{count}.avi", (frame for frame in grey_levels(count)))
        tracemalloc.start()
        resize, sampling = Resizer(48), Sampling(short_side=48, size=48)
        with VideoFile(path) as video:
            images = (resize(frame) for frame in resample(video.frames(), 25.0))
            rows = sum(1 for _ in segments(images, sampling))
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert rows == count // 16
        return found

    peak(32)
    assert peak(640) < 1.5 * peak(64)


@needs(REAL_FILES)
@needs(VIDEO)
def test_real_videos_have_the_frames_and_segments_of_their_length():
    for name, frames, seconds in (("v_GGSY1Qvo990", 355, 355 / 19.62), ("v_ZNVhz7ctTq0", 420, 14.0)):
        with VideoFile(REAL_VIDEOS / f"{name}.mp4") as video:
            sampled = sum(1 for _ in resample(video.frames(), 25.0))
        assert video.decoded.frames == frames
        assert float(video.decoded.duration_s) == pytest.approx(seconds, abs=0.01)
        assert sampled == round(seconds * 25)
        assert video.decoded.is_whole
