"""Everything a command reads, opened from one set of options: annotations, features, and the time base of each video.

The commands that take raw inputs share these options and their flags, so that what was inspected is what is converted.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from absl import flags

from data_prep.annotations import AnnotationSet, choose_subsets, format_names, read_annotations
from data_prep.features import FeatureReader
from data_prep.features.axes import AXES
from data_prep.features.choices import LAYOUTS, FeatureChoices
from data_prep.features.layouts import open_features
from data_prep.features.readers import CHANNEL_ORDERS, MISSING
from data_prep.inputs.chosen import Without
from data_prep.inputs.feature_times import times_beside_features, with_others
from data_prep.inputs.rescaled import known_durations, rescaled_times
from data_prep.inputs.time_sources import TimeInfo, probe_videos, read_time_table, span_of
from tc3net.common.errors import UsageError, UserError
from tc3net.common.names import counted
from tc3net.data.streams import RGB_FLOW, parse_streams
from tc3net.data.timebase import TimeBase

DEFAULT_TIME_BASE = TimeBase()


@dataclass(frozen=True)
class InputOptions:
    """Where the inputs lie, and how to read them where the files themselves do not say.

    Attributes:
        annotations: file or folder with the annotations.
        features: file or folder with the features; with `flow_features` only rgb's.
        flow_features: file or folder with flow's features where they lie elsewhere.
        annotation_format: one of `formats.format_names`.
        feature_layout: one of `layouts.LAYOUTS`.
        channel_order: one of `readers.CHANNEL_ORDERS`, for joint arrays.
        feature_axes: one of `axes.AXES`, for arrays with crops.
        feature_key: name of the array in files of several; or one of each stream, separated by commas.
        cut_streams: whether streams that differ by one or two rows are cut to the shortest one.
        streams: names of the streams, with sizes or without, as `tc3net.data.streams.parse_streams` reads them.
        missing_stream: what becomes of a video without one of its streams, one of `readers.MISSING`.
        time_base: how feature rows relate to seconds, where no other source says it.
        rescaled_rows: whether the rows of every video span its whole duration, however many they are.
        time_base_file: table, or folder of side files, with the time base (and duration) of each video.
        videos: folder with the video files, from which fps and duration are read.
        class_list: file with the class names in the order of their ids; None: the annotations' own.
        subset: subset of all videos, for tables that have no column for it.
        subsets: which subsets are read; none for all.
        fps_given: whether the user named the fps of `time_base`, so that no other source of it is used.
        frames_given: whether the user named the frames of a segment.
    """

    annotations: str | Path
    features: str | Path
    flow_features: str | Path | None = None
    annotation_format: str = "auto"
    feature_layout: str = "auto"
    channel_order: str = "rgb_first"
    feature_axes: str = "auto"
    feature_key: str | None = None
    cut_streams: bool = False
    streams: str = ",".join(RGB_FLOW)
    missing_stream: str = MISSING[0]
    time_base: TimeBase = DEFAULT_TIME_BASE
    rescaled_rows: bool = False
    time_base_file: str | Path | None = None
    videos: str | Path | None = None
    class_list: str | Path | None = None
    subset: str | None = None
    subsets: tuple[str, ...] = ()
    fps_given: bool = False
    frames_given: bool = False

    def __post_init__(self) -> None:
        if self.time_base_file is not None and self.videos is not None:
            raise UserError(
                f"--time_base_file={self.time_base_file} and --videos={self.videos} found; expected one source of the "
                "time base. Drop one."
            )


@dataclass(frozen=True)
class Inputs:
    """Opened inputs.

    Attributes:
        annotations: the videos and classes.
        reader: features, one video at a time.
        time_bases: annotated video id -> how its feature rows relate to seconds.
        descriptions: what was recognised, one line each, for the screen and the manifest.
    """

    annotations: AnnotationSet
    reader: FeatureReader
    time_bases: Mapping[str, TimeBase]
    descriptions: tuple[str, ...]


def open_inputs(options: InputOptions) -> Inputs:
    """Opens the inputs; features are read only later, video by video.

    Raises:
        UserError: a file is absent or damaged, or its layout is not clear.
    """
    annotations, format_words = read_annotations(
        options.annotations, options.annotation_format, options.subset, options.class_list
    )
    video_ids = [video.video_id for video in annotations.videos]
    choices = FeatureChoices(
        options.flow_features,
        options.feature_layout,
        options.channel_order,
        options.feature_axes,
        options.feature_key,
        options.cut_streams,
        parse_streams(options.streams),
        options.missing_stream,
    )
    reader, layout_words = open_features(options.features, video_ids, choices)
    with_features = len(reader.video_ids())
    annotations, subset_words, others = choose_subsets(annotations, options.subsets, options.annotations)
    if others:
        reader = Without(reader, others)
    times, time_words = _times(options, annotations)
    if options.rescaled_rows:
        durations_s = known_durations(annotations, times)
        times, time_words = rescaled_times(durations_s, times, reader, options.annotations)
    annotations, duration_words = _with_durations(annotations, reader, times)
    return Inputs(
        annotations=annotations,
        reader=reader,
        time_bases={video_id: info.time_base for video_id, info in times.items()},
        descriptions=(
            f"annotations: {options.annotations} ({format_words}), {counted(len(video_ids), 'video')}",
            f"features:    {options.features} ({layout_words}), {counted(with_features, 'video')}",
            *subset_words,
            f"time base:   {time_words}",
            *duration_words,
        ),
    )


def _times(options: InputOptions, annotations: AnnotationSet) -> tuple[dict[str, TimeInfo], str]:
    """Time bases, from the first of: a table, the videos, the flag, files beside the features, the annotations, the
    default."""
    default = options.time_base
    video_ids = list(dict.fromkeys(video.video_id for video in annotations.videos))
    told = {video.video_id: video.fps for video in annotations.videos if video.fps is not None}
    segments = f"{default.frames_per_segment} frames per segment, stride {default.stride_frames}"
    unused = f"; fps of {counted(len(told), 'video')} in the annotations not used" if told else ""
    if options.time_base_file is not None:
        times = read_time_table(options.time_base_file, video_ids, default)
        different = len({info.time_base for info in times.values()})
        words = f"{options.time_base_file}, {different} different among {counted(len(video_ids), 'video')}"
        return times, words + unused
    if options.videos is not None:
        times = probe_videos(options.videos, video_ids, default)
        rates = [info.time_base.fps for info in times.values()]
        return times, f"{span_of(rates)} fps as the videos in {options.videos}, {segments}{unused}"
    if not options.fps_given:
        beside = times_beside_features(options.features, video_ids, default, frames_given=options.frames_given)
        if beside:
            times, words = with_others(beside, video_ids, default)
            return times, f"{words}{unused}; --fps sets another"
    if told and not options.fps_given:
        times = {video_id: TimeInfo(replace(default, fps=told.get(video_id, default.fps))) for video_id in video_ids}
        others = f" ({default.fps:g} for the others)" if len(told) < len(video_ids) else ""
        where = f"as the annotations say for {counted(len(told), 'video')}{others}"
        return times, f"{span_of(told.values())} fps {where}, {segments}; --fps sets another"
    return {video_id: TimeInfo(default) for video_id in video_ids}, (
        f"{default.fps:g} fps, {segments}, for all videos{unused}"
    )


def _with_durations(
    annotations: AnnotationSet, reader: FeatureReader, times: Mapping[str, TimeInfo]
) -> tuple[AnnotationSet, tuple[str, ...]]:
    """Fills in the durations that the annotations do not tell; what cannot be told stays NaN, which is an error later.

    A duration from the features is that of the frames they were computed from. Instances that end after it are then
    reported against the features alone.
    """
    found: dict[str, float] = {}
    of_features = set()
    sources: Counter[str] = Counter()
    with_features = frozenset(reader.video_ids())
    for video_id in annotations.without_duration:
        info = times[video_id]
        if info.duration_s is not None:
            found[video_id] = info.duration_s
            sources["the source of the time base"] += 1
        elif video_id in with_features:
            with contextlib.suppress(UserError):  # unusable features, which the validation reports with their reason
                found[video_id] = info.time_base.duration_s(reader.num_segments(video_id))
                sources["the length of the features"] += 1
                of_features.add(video_id)
    if not annotations.without_duration:
        return annotations, ()
    videos = tuple(
        replace(video, duration_s=found[video.video_id]) if video.video_id in found else video
        for video in annotations.videos
    )
    words = [f"{count} from {source}" for source, count in sorted(sources.items())]
    unknown = len(annotations.without_duration) - len(found)
    words += [f"{unknown} unknown"] if unknown else []
    number = counted(len(annotations.without_duration), "video")
    filled = replace(
        annotations,
        videos=videos,
        without_duration=annotations.without_duration - found.keys(),
        durations_of_features=frozenset(of_features),
    )
    return filled, (f"durations:   not in the annotations of {number}: {', '.join(words)}",)


def define_input_flags(flag_values: flags.FlagValues) -> None:
    """Defines the flags of the inputs; the mains that read raw inputs call it."""
    default = DEFAULT_TIME_BASE
    for name, text in (
        ("annotations", "ActivityNet JSON, a CSV table, or a folder of W-TALC's or THUMOS14's files."),
        ("features", "Folder of .npy, .npz or HDF5 files, an HDF5 file, or W-TALC's .npy file."),
        ("flow_features", "The same for flow, where --features holds rgb only."),
        (
            "time_base_file",
            "Table video,fps,frames_per_segment,stride_frames,duration_s, all but video optional; or extract's folder.",
        ),
        ("videos", "Folder of the video files <video>.mp4: fps and durations are read from them."),
        ("feature_key", "Name of the array in files of several; or one of each stream, as in rgb_i3d,flow_i3d."),
        ("class_list", "Class names in the order of their ids: one per line, or .npy. Default: the annotations'."),
        ("subset", "Subset of all videos, for tables without such a column. Default: training."),
    ):
        flags.DEFINE_string(name, None, text, flag_values=flag_values)
    for name, values, text in (
        ("annotation_format", format_names(), "Format of --annotations, where its content leaves it open."),
        ("feature_layout", LAYOUTS, "Kind and arrangement of the feature files, where they leave it open."),
        ("feature_axes", AXES, "Where crops are in [crops, s, D] or [s, crops, D], if all videos leave it open."),
        ("channel_order", CHANNEL_ORDERS, "Which of rgb and flow comes first in arrays that hold both."),
        ("missing_stream", MISSING, "Videos that lack a stream: refused, or that stream is zero in them."),
    ):
        flags.DEFINE_enum(name, values[0], values, text, flag_values=flag_values)
    for name, text in (
        ("cut_streams", "Cut streams that differ by one or two rows to the shortest one."),
        ("rescaled_rows", "The rows of every video span its whole duration, such as 100 of each; needs durations."),
    ):
        flags.DEFINE_bool(name, False, text, flag_values=flag_values)
    text = "The streams, and their sizes where arrays hold several: rgb,flow or videomae or rgb:1024,audio:128."
    flags.DEFINE_string("streams", ",".join(RGB_FLOW), text, flag_values=flag_values)
    flags.DEFINE_list("subsets", [], "Subsets to take, comma-separated. Default: all.", flag_values=flag_values)
    flags.DEFINE_float(
        "fps",
        default.fps,
        "Frames per second that the features were computed at; overrides what annotations say of single videos.",
        flag_values=flag_values,
    )
    flags.DEFINE_integer(
        "frames_per_segment", default.frames_per_segment, "Frames behind one feature row.", flag_values=flag_values
    )
    flags.DEFINE_integer(
        "stride_frames", default.stride_frames, "Frames from one feature row to the next.", flag_values=flag_values
    )


def input_options(flag_values: flags.FlagValues) -> InputOptions:
    """The flags of `define_input_flags` as options.

    Raises:
        UserError: a required flag is missing, a value is out of range, or flags contradict each other.
    """
    for name in ("annotations", "features"):
        if not flag_values[name].value:
            raise UsageError(f"--{name} is not set; expected a value ({flag_values[name].help}). Add --{name}=...")
    if flag_values.videos and flag_values["fps"].present:
        raise UserError(
            f"--fps={flag_values.fps:g} and --videos={flag_values.videos} found; expected one, since the videos say "
            "their fps. Drop --videos when the features were computed at another rate than the videos have."
        )
    stated = [f"--{name}" for name in ("fps", "frames_per_segment", "stride_frames") if flag_values[name].present]
    if flag_values.rescaled_rows and stated:
        raise UserError(
            f"--rescaled_rows and {' and '.join(stated)} found; expected one, since rows that span a video have their "
            "time from its duration. Drop the others."
        )
    return InputOptions(
        annotations=flag_values.annotations,
        features=flag_values.features,
        flow_features=flag_values.flow_features or None,
        annotation_format=flag_values.annotation_format,
        feature_layout=flag_values.feature_layout,
        channel_order=flag_values.channel_order,
        feature_axes=flag_values.feature_axes,
        feature_key=flag_values.feature_key or None,
        cut_streams=flag_values.cut_streams,
        streams=flag_values.streams,
        missing_stream=flag_values.missing_stream,
        time_base=TimeBase(flag_values.fps, flag_values.frames_per_segment, flag_values.stride_frames),
        rescaled_rows=flag_values.rescaled_rows,
        time_base_file=flag_values.time_base_file or None,
        videos=flag_values.videos or None,
        class_list=flag_values.class_list or None,
        subset=flag_values.subset or None,
        subsets=chosen_subsets(flag_values),
        fps_given=bool(flag_values["fps"].present),
        frames_given=bool(flag_values["frames_per_segment"].present),
    )


def chosen_subsets(flag_values: flags.FlagValues) -> tuple[str, ...]:
    """The names of `--subsets`."""
    return tuple(name.strip() for name in flag_values.subsets if name.strip())
