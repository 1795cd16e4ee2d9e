"""Writes a *simulated* data set in the layouts that users have: `python -m data_prep.synthetic --output_dir=...`.

For trying the whole system without the real features, which cannot be passed around. With --annotations only the
features are simulated, for real annotations. `data_prep.simulation.simulator` describes the model; `simulated.json` in
the output records its parameters, and `data_prep.convert` recognises the data by it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from data_prep.annotations import AnnotationSet, VideoRecord, read_annotations
from data_prep.annotations.activitynet_json import activitynet_dict
from data_prep.annotations.wtalc_folder import write_wtalc_folder
from data_prep.output.folders import existing_marker, is_safe_name, require_only, staged_folder
from data_prep.simulation.simulator import SIMULATED_MARKER, Simulator, SimulatorConfig
from tc3net.common.errors import UsageError, UserError
from tc3net.common.files import write_json
from tc3net.common.names import counted
from tc3net.data.streams import parse_streams
from tc3net.data.timebase import TimeBase
from tc3net.terminal.command import run_main
from tc3net.terminal.progress import progress_bar

LAYOUTS = ("activitynet", "wtalc")
FEATURE_FILE = "Simulated-I3D-JOINTFeatures.npy"
# THUMOS14 trains on its validation videos; its training set is trimmed.
TRAIN_SUBSET, TEST_SUBSET = "validation", "test"
DEFAULT_MODEL = SimulatorConfig()


@dataclass(frozen=True)
class SyntheticOptions:
    """Everything a simulation needs to know.

    Attributes:
        output_dir: folder to create, or to replace by the same simulation.
        num_train, num_test: videos of the subsets "validation" and "test"; unused with `annotations`.
        num_classes: number of classes; unused with `annotations`.
        layout: "activitynet" (one file per video and stream, JSON) or "wtalc" (object array, folder of NumPy files).
        annotations: real annotations (folder or JSON) to simulate features for; None: annotations are simulated too.
        model: parameters of the statistical model.
    """

    output_dir: str | Path
    num_train: int = 60
    num_test: int = 40
    num_classes: int = 8
    layout: str = "activitynet"
    annotations: str | Path | None = None
    model: SimulatorConfig = DEFAULT_MODEL

    def __post_init__(self) -> None:
        for name in ("num_train", "num_test", "num_classes"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}; expected at least 1. Set --{name}.")
        if self.layout not in LAYOUTS:
            raise UserError(f"layout is {self.layout!r}; expected one of {', '.join(LAYOUTS)}. Set --layout.")


def simulate(options: SyntheticOptions) -> AnnotationSet:
    """Writes a simulated data set; the same options give the same bytes.

    An existing output folder is replaced when it holds the same simulation (all parameters equal) and nothing else.

    Args:
        options: see `SyntheticOptions`. Layout "wtalc" holds all features in memory, since it is one pickle.

    Returns:
        The annotations, simulated or real.

    Raises:
        UserError: the annotations or the output folder; the output folder is unchanged then.
    """
    # Through JSON, so that it compares equal to what an earlier run wrote.
    parameters = json.loads(json.dumps({**asdict(options), "output_dir": None, "annotations": None}))
    del parameters["output_dir"]
    if options.model.streams == DEFAULT_MODEL.streams:  # as written before streams could be chosen
        for name in ("streams", "other"):
            del parameters["model"][name]
    if options.annotations is not None:
        parameters["annotations"] = str(Path(options.annotations).resolve())
    _check_replaceable(options.output_dir, parameters)
    simulator = Simulator(options.model, TimeBase())
    if options.annotations is None:
        annotations = _annotate(options, simulator)
    else:
        annotations, _ = read_annotations(options.annotations)
        _require_usable(annotations, options.annotations)
    with staged_folder(options.output_dir, lambda: _check_replaceable(options.output_dir, parameters)) as folder:
        _write_features(folder, options, simulator, annotations)
        if options.annotations is None:
            if options.layout == "wtalc":
                write_wtalc_folder(folder / "annotations", annotations)
            else:
                write_json(folder / "annotations.json", activitynet_dict(annotations, "simulated", with_labels=False))
        files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        what = "Simulated features; results on them say nothing about real videos."
        write_json(folder / SIMULATED_MARKER, {"note": what, "parameters": parameters, "files": files})
    return annotations


def _check_replaceable(output_dir: str | Path, parameters: dict[str, Any]) -> None:
    earlier = existing_marker(output_dir, SIMULATED_MARKER)
    if earlier is None:
        return
    if earlier.get("parameters") != parameters or not isinstance(earlier.get("files"), list):
        raise UserError(
            f"{output_dir}: holds a data set simulated with other parameters; expected nothing, or the same one. "
            "Give another --output_dir, or remove it."
        )
    require_only(output_dir, {SIMULATED_MARKER, *earlier["files"]})


def _annotate(options: SyntheticOptions, simulator: Simulator) -> AnnotationSet:
    width = len(str(options.num_classes))
    classes = tuple(f"Action{index:0{width}d}" for index in range(1, options.num_classes + 1))
    videos = tuple(
        simulator.annotate(f"video_{subset}_{index + 1:07d}", subset, classes[index % len(classes)], classes)
        for subset, number in ((TRAIN_SUBSET, options.num_train), (TEST_SUBSET, options.num_test))
        for index in range(number)
    )
    return AnnotationSet(classes, videos)


def _require_usable(annotations: AnnotationSet, path: str | Path) -> None:
    """Names become file names here, and durations lengths; the other checks are the converter's."""
    seen = set()
    for video in annotations.videos:
        if not is_safe_name(video.video_id) or video.video_id in seen:
            raise UserError(
                f"{path}: video id {video.video_id!r} is not a file name or not unique; expected unique names without "
                "path separators. Correct the annotations."
            )
        if not 0 < video.duration_s < float("inf"):
            raise UserError(
                f"{path}: video {video.video_id!r} has duration {video.duration_s} s; expected a positive number. "
                "Correct the annotations."
            )
        seen.add(video.video_id)


def _write_features(folder: Path, options: SyntheticOptions, simulator: Simulator, annotations: AnnotationSet) -> None:
    videos: Iterable[VideoRecord] = progress_bar(annotations.videos, "simulating", "video")
    if options.layout == "wtalc":
        joint = np.empty(len(annotations.videos), np.object_)
        for row, video in enumerate(videos):
            joint[row] = np.concatenate(simulator.features(video), axis=1)  # [s, D] of each -> [s, ΣD]
        np.save(folder / FEATURE_FILE, joint)
        return
    names = options.model.sizes.names
    for stream in names:
        (folder / "features" / stream).mkdir(parents=True)
    for video in videos:
        for stream, values in zip(names, simulator.features(video)):
            np.save(folder / "features" / stream / f"{video.video_id}.npy", values)


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the flags; called once, when this file is the program, so that other mains may use the same names."""
    default, model = SyntheticOptions(output_dir=""), DEFAULT_MODEL
    integer, text = flags.DEFINE_integer, flags.DEFINE_string
    text("output_dir", None, "Folder to create, or to replace by the same simulation.", flag_values)
    integer("num_train", default.num_train, "Training videos.", flag_values=flag_values)
    integer("num_test", default.num_test, "Test videos.", flag_values=flag_values)
    integer("num_classes", default.num_classes, "Classes.", flag_values=flag_values)
    integer("feature_dim", model.feature_dim, "Feature dims of one stream.", flag_values=flag_values)
    text("streams", ",".join(model.sizes.names), "Streams, and their sizes: rgb,flow or rgb:64,audio:16.", flag_values)
    integer("seed", model.seed, "Same seed, same data.", flag_values=flag_values)
    flags.DEFINE_enum("layout", default.layout, LAYOUTS, "File layout to write.", flag_values=flag_values)
    text("annotations", None, "Real annotations (folder or JSON) to simulate features for.", flag_values)
    flags.DEFINE_float("median_duration_s", model.median_duration_s, "Median video duration.", flag_values=flag_values)


def options_from_flags(values: flags.FlagValues) -> SyntheticOptions:
    """The flags as options.

    Raises:
        UserError: --output_dir is missing, a value is out of range, or flags contradict each other.
    """
    if not values.output_dir:
        raise UsageError("--output_dir is not set; expected the folder to write. Add --output_dir=...")
    if values.annotations:
        for name in ("num_train", "num_test", "num_classes", "median_duration_s"):
            if values[name].present:
                raise UserError(
                    f"--{name} and --annotations found; expected one, since the annotations fix it. Drop one."
                )
    return SyntheticOptions(
        output_dir=values.output_dir,
        num_train=values.num_train,
        num_test=values.num_test,
        num_classes=values.num_classes,
        layout=values.layout,
        annotations=values.annotations or None,
        model=SimulatorConfig(
            seed=values.seed,
            feature_dim=values.feature_dim,
            streams=parse_streams(values.streams),
            median_duration_s=values.median_duration_s,
        ),
    )


def main(argv: Sequence[str]) -> None:
    """Runs the simulation that the flags describe."""
    del argv
    options = options_from_flags(flags.FLAGS)
    annotations = simulate(options)
    print(f"{options.output_dir}: simulated features of {counted(len(annotations.videos), 'video')}")


if __name__ == "__main__":
    run_main(main, define_flags)
