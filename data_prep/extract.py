"""Command: features of video files, as `data_prep.convert` and `tc3net.predict` read them.

    python -m data_prep.extract --videos=FILE_OR_FOLDER --output_dir=FEATURES
    python -m data_prep.extract --videos=FOLDER --output_dir=FEATURES --task_index=0 --num_tasks=8
    python -m data_prep.extract --videos=FOLDER --output_dir=FEATURES --engine=dask --engine_option=address=tcp://host:8786
    python -m data_prep.extract --videos=FOLDER --output_dir=FEATURES --backbone=my_package:my_function

FEATURES/rgb/<video>.npy [segments, 1024], and FEATURES/flow/ where weights of the flow network are there
(`data_prep.weights`); FEATURES/<video>.json says how they were made. Finished videos are skipped, and the same command
goes on where it was killed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from absl import flags

from data_prep.extraction.extracting import Extractor
from data_prep.extraction.jobs.engine_extraction import extract_on
from data_prep.extraction.jobs.recipe import Recipe
from data_prep.extraction.kinetics.classes import describe
from data_prep.extraction.outcome import Outcome, describe_seconds
from data_prep.extraction.sampling import Sampling
from data_prep.extraction.videos import list_videos, videos_of_part
from data_prep.extraction.weight_cache import cache_folder, load_weights
from tc3net.common.errors import UsageError, UserError
from tc3net.data.parts import Part
from tc3net.data.timebase import TimeBase
from tc3net.engines import engine as engines
from tc3net.engines.engine import define_engine_flags, engine_choice
from tc3net.terminal.command import run_main
from tc3net.terminal.devices import say_devices

FLAGS = flags.FLAGS
_NAMED = 5


def define_flags() -> None:
    """Defines this command's flags."""
    flags.DEFINE_string("videos", None, "A video file, or a folder with videos, also in sub-folders.")
    flags.DEFINE_string("output_dir", None, "Folder for the features; what is finished there is not made again.")
    flags.DEFINE_list("streams", None, "rgb, flow or rgb,flow. Default: those whose weights are there.")
    flags.DEFINE_string("backbone", None, "module:function, a network of your own in place of I3D, for the stream rgb.")
    flags.DEFINE_string("cache_dir", None, "Where weights are kept. Default: $TC3NET_CACHE, or ~/.cache/tc3net.")
    flags.DEFINE_bool("random_weights", False, "Try the way out without weights; the features mean nothing.")
    flags.DEFINE_float("fps", None, "Frames per second that videos are brought to. Default: the network's (I3D: 25).")
    flags.DEFINE_integer("frames_per_segment", None, "Frames behind one row. Default: the network's (I3D: 16).")
    flags.DEFINE_integer("stride_frames", None, "Frames from one row to the next. Default: the network's (I3D: 16).")
    flags.DEFINE_integer("short_side", None, "Pixels of the shorter side. Default: the network's (I3D: 256).")
    flags.DEFINE_integer("size", None, "Pixels of the square that is cut out. Default: the network's (I3D: 224).")
    flags.DEFINE_integer("crops", None, "1 (centre) or 10 (the mean of ten crops). Default: the network's (I3D: 1).")
    flags.DEFINE_integer("flow_warps", 5, "Warps of TV-L1; 1 takes half the time and is a little less exact.")
    flags.DEFINE_integer(
        "batch_size", None, "Segments the network sees at a time. Default: I3D 16 on a GPU and 1 on CPUs, others 8."
    )
    flags.DEFINE_integer("num_workers", 2, "Videos that are decoded at a time.")
    flags.DEFINE_integer("flow_workers", None, "Processes that compute optical flow. Default: one for each CPU.")
    flags.DEFINE_integer(
        "kinetics_classes", 0, "At the end, print so many of Kinetics' classes of each stretch of the videos, as a "
        "check for the eye; I3D's rgb alone.", lower_bound=0,
    )  # fmt: skip
    flags.DEFINE_integer("task_index", 0, "Which part of the videos to extract.")
    flags.DEFINE_integer("num_tasks", 1, "Number of parts that the videos are divided into.")
    define_engine_flags(FLAGS)
    flags.adopt_module_key_flags(engines)  # so that --help shows them


def recipe_from_flags() -> Recipe:
    """What the flags say the features are made with.

    Raises:
        UserError: flags contradict each other.
    """
    names = sorted({field.name for field in fields(Sampling)} & set(FLAGS))
    return Recipe(
        FLAGS.backbone or None,
        cache_folder(FLAGS.cache_dir),
        tuple(FLAGS.streams) if FLAGS.streams else None,
        FLAGS.random_weights,
        tuple((name, FLAGS[name].value) for name in names if FLAGS[name].present),
        FLAGS.flow_warps,
        FLAGS.batch_size,
        FLAGS.num_workers,
        FLAGS.flow_workers,
    )


def report(outcome: Outcome) -> None:
    """Prints what was done.

    Raises:
        UserError: videos failed.
    """
    for video_id, why in sorted(outcome.skipped.items()):
        print(f"{video_id}: skipped, {why}")
    print(
        f"{len(outcome.segments)} videos extracted ({sum(outcome.segments.values())} segments), {len(outcome.skipped)} "
        f"skipped, {len(outcome.failed)} failed, {len(outcome.incomplete)} of the extracted ones incomplete"
    )
    print(describe_seconds(outcome.seconds))
    if outcome.failed:
        lines = [f"  {video_id}: {message}" for video_id, message in sorted(outcome.failed.items())]
        more = [f"  ... and {len(lines) - _NAMED} more"] if len(lines) > _NAMED else []
        raise UserError("\n".join([f"{len(lines)} videos could not be extracted:", *lines[:_NAMED], *more]))


def print_kinetics(videos: Mapping[str, Path], sampling: Sampling, most: int) -> None:
    """Prints which of Kinetics' classes the network sees in finished videos."""
    from data_prep.extraction.i3d import STREAMS  # TensorFlow

    arrays = load_weights(cache_folder(FLAGS.cache_dir), STREAMS["rgb"]).arrays
    base = TimeBase(sampling.fps, sampling.frames_per_segment, sampling.stride_frames)
    for video_id in videos:
        path = Path(FLAGS.output_dir) / "rgb" / f"{video_id}.npy"
        if path.is_file():
            print(f"{video_id}: Kinetics' classes, as the published network sees them")
            print("\n".join(describe(path, arrays, base, most)))


def main(argv: Sequence[str]) -> None:
    """Extracts what the flags name."""
    del argv
    for name in ("videos", "output_dir"):
        if not FLAGS[name].value:
            raise UsageError(f"--{name} is not set; expected a value ({FLAGS[name].help}). Add --{name}=...")
    if FLAGS.kinetics_classes and (FLAGS.backbone or FLAGS.random_weights):
        raise UsageError(
            "--kinetics_classes with --backbone or --random_weights found; it is for I3D's own weights. Drop one."
        )
    choice, recipe = engine_choice(FLAGS), recipe_from_flags()
    videos = videos_of_part(list_videos(FLAGS.videos), Part(FLAGS.task_index, FLAGS.num_tasks))
    extraction = recipe.open()
    if not FLAGS.backbone and choice.is_local:
        say_devices()
    for stream, one in extraction.backbones.items():
        print(f"{stream}: {one.name}, {one.weights}")
    if choice.is_local:
        outcome = Extractor(extraction, Path(FLAGS.output_dir)).run(videos)
    else:
        outcome = extract_on(choice, recipe, extraction, FLAGS.output_dir, videos)
    if FLAGS.kinetics_classes and "rgb" in extraction.backbones:
        print_kinetics(videos, extraction.sampling, FLAGS.kinetics_classes)
    report(outcome)


if __name__ == "__main__":
    run_main(main, define_flags)
