"""Every command: the module that it is, what it does in a line, and the flags that everybody needs first.

`tc3net NAME` and `python -m MODULE` are the same command. Help, completion and the pages about commands are made from
this table and from the flags that the modules define.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        module: what `python -m` takes.
        summary: what it does.
        first: the flags that most uses need, in the order in which one thinks of them.
    """

    module: str
    summary: str
    first: tuple[str, ...]


# In the order of the work.
COMMANDS = {
    "inspect": Command(
        "data_prep.inspect",
        "looks at annotations, features or a converted data set, and names what is wrong",
        ("annotations", "features", "dataset_dir", "output_dir", "fps"),
    ),
    "convert": Command(
        "data_prep.convert",
        "features and annotations into a data set",
        ("annotations", "features", "output_dir", "name", "fps"),
    ),
    "extract": Command(
        "data_prep.extract", "features of video files", ("videos", "output_dir", "streams", "backbone", "num_workers")
    ),
    "weights": Command("data_prep.weights", "obtains the weights of an I3D network", ("network", "from", "cache_dir")),
    "synthetic": Command(
        "data_prep.synthetic",
        "writes a simulated data set",
        ("output_dir", "num_train", "num_test", "num_classes", "annotations"),
    ),
    "to-json": Command(
        "data_prep.to_json",
        "any annotation format as one ActivityNet JSON file",
        ("annotations", "output", "annotation_format", "subset"),
    ),
    "convert-beam": Command(
        "data_prep.beam",
        "the conversion on several machines, with Apache Beam",
        ("annotations", "features", "output_dir", "name", "beam_option"),
    ),
    "train": Command(
        "tc3net.train",
        "trains 3C-Net; the same command again resumes",
        ("flagfile", "dataset_dir", "run_dir", "iterations", "holdout_fraction"),
    ),
    "evaluate": Command(
        "tc3net.evaluate",
        "mAP, intervals and error analysis; of any tool's detections too",
        ("run_dir", "dataset_dir", "subset", "protocols", "output_dir"),
    ),
    "tune": Command(
        "tc3net.tune",
        "chooses detection settings on held-out training videos",
        ("run_dir", "dataset_dir", "output_dir", "protocol", "budget"),
    ),
    "ablate": Command(
        "tc3net.ablate",
        "trains and scores the paper's variants over several seeds",
        ("flagfile", "dataset_dir", "output_dir", "seeds", "variants"),
    ),
    "compare-methods": Command(
        "tc3net.compare_methods",
        "trains and scores several methods over several seeds",
        ("methods", "dataset_dir", "output_dir", "seeds", "alternatives"),
    ),
    "refine": Command(
        "tc3net.refine",
        "trains a second stage on what a run finds in its training videos",
        ("flagfile", "first_run", "dataset_dir", "run_dir", "rounds"),
    ),
    "report": Command(
        "tc3net.report", "one HTML page of an evaluation", ("output", "videos", "embed_videos", "classes_per_video")
    ),
    "predict": Command(
        "tc3net.predict",
        "detections and pictures of new videos",
        ("run_dir", "video", "features", "output_dir", "report"),
    ),
    "detections-to": Command(
        "tc3net.detections_to",
        "detections as subtitles for any player, or as pre-annotations for Label Studio",
        ("detections", "format", "output_dir", "min_score", "fps"),
    ),
    "predict-beam": Command(
        "tc3net.predict_beam",
        "detections of a data set on several machines, with Apache Beam",
        ("run_dir", "dataset_dir", "subset", "output_dir", "num_tasks"),
    ),
    "export": Command(
        "tc3net.export",
        "a SavedModel for TensorFlow Serving, or to use without tc3net",
        ("run_dir", "export_dir", "model_name", "checkpoint", "max_detections"),
    ),
    "client": Command(
        "tc3net.serving.client",
        "asks a model server for detections",
        ("address", "features", "output", "transport", "health"),
    ),
    "synthetic-videos": Command(
        "data_prep.synthetic_videos", "writes short videos of a moving ball, with their annotations", ("output_dir",)
    ),
    "demo-video": Command("tc3net.demo_video", "from video files to a page, with real I3D", ("output_dir", "video")),
    "demo": Command("tc3net.demo", "the whole job on simulated data, in one to two minutes", ("output_dir",)),
}


def flags_definer(name: str) -> Callable[[], None]:
    """The function that defines a command's flags, of its module, which is imported."""
    module = COMMANDS[name].module
    spec = importlib.util.find_spec(module)
    assert spec is not None
    imported = importlib.import_module(f"{module}.__main__" if spec.submodule_search_locations else module)
    definer: Callable[[], None] = getattr(imported, "register_flags", None) or imported.define_flags
    return definer


def typed_as(module: str) -> str:
    """The command's name after `tc3net`; of a program that is no command of ours, its own."""
    module = module[: -len(".__main__")] if module.endswith(".__main__") else module
    return next((name for name, command in COMMANDS.items() if command.module == module), module)
