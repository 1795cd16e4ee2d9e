"""Command: a SavedModel that runs without tc3net, as TF Serving wants it: dense tensors in, dense tensors out.

    python -m tc3net.export --run_dir=RUN --export_dir=EXPORT

Writes EXPORT/<model_name>/<version>/, the version being the next free integer. `serving_default` takes `features`
[B, T, ΣD] float32 (rgb, then flow) and `lengths` [B] int64, how many of the T rows of each video are real; there are
also `with_time_base`, `examples`, `embed` and `class_names` (docs/export.md).
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
from absl import flags

from tc3net.common import config as config_module
from tc3net.common.config import define_flags, from_flags
from tc3net.common.errors import UsageError, UserError
from tc3net.common.storage import RemotePath, path_of
from tc3net.common.storage.copies import put_folder
from tc3net.common.storage.leases import TakenError, lease
from tc3net.detection import DetectionConfig
from tc3net.runs.description import RunInfo
from tc3net.runs.folder import CheckpointChoice
from tc3net.runs.provenance import versions
from tc3net.runs.scoring import open_run
from tc3net.saved_model.deployment import write_deployment
from tc3net.saved_model.other_runtimes import SAVED_MODEL, check_formats, write_formats
from tc3net.saved_model.signatures import Batching, Service
from tc3net.saved_model.warmup import write_warmup
from tc3net.terminal.command import run_main

FLAGS = flags.FLAGS


def register_flags() -> None:
    """Defines this command's flags; called when this file is the program, so that importing it defines none."""
    flags.DEFINE_string("run_dir", None, "Run folder of the model; its detection settings are the defaults here.")
    flags.DEFINE_string("export_dir", None, "Folder (or gs://...) of exported models.")
    flags.DEFINE_string("model_name", "tc3net", "Name of the model, a folder in --export_dir.")
    flags.DEFINE_integer("max_detections", 100, "Most detections per video in the output; the best scores are kept.")
    flags.DEFINE_list(
        "formats", [SAVED_MODEL],
        "What is written, comma separated: savedmodel, and beside it onnx and tflite, the network for other runtimes "
        "with the detection rule in NumPy.",
    )  # fmt: skip
    define_flags(CheckpointChoice)
    define_flags(DetectionConfig)
    define_flags(Batching)
    flags.adopt_module_key_flags(config_module)  # so that --help shows them


def export(service: Service, run: RunInfo, folder: Path, formats: Sequence[str] = (SAVED_MODEL,)) -> Path:
    """Writes the next version of a SavedModel, atomically.

    Args:
        service: the model and how it answers.
        run: its description.
        folder: of the model's versions, named as the model.
        formats: see `tc3net.saved_model.other_runtimes`.

    Returns:
        The version's folder.

    Raises:
        UserError: a format cannot be written.
    """
    is_on_disk = not isinstance(folder, RemotePath)
    if is_on_disk:
        folder.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".export.", dir=folder if is_on_disk else None))
    try:
        archive = keras.export.ExportArchive()
        archive.track(service.model)
        for name, (function, specs) in service.signatures().items():
            archive.add_endpoint(name=name, fn=function, input_signature=specs)
        with contextlib.redirect_stdout(io.StringIO()):  # Keras lists every captured tensor
            archive.write_out(str(staging / "model"))
        description = {
            "classes": run.classes,
            "streams": run.streams.as_dict(),
            "time_base": vars(run.time_base),
            "detection": vars(service.detection),
            "top_k_divisor": service.top_k_divisor,
            "max_detections": service.max_detections,
            "batching": vars(service.batching),
            "model": vars(run.model),
            "dataset": run.dataset,
            "training": run.training.as_dict(),
            "versions": versions(),
        }
        assets = staging / "model" / "assets"
        assets.mkdir(exist_ok=True)
        (assets / "tc3net.json").write_text(json.dumps(description, indent=1), encoding="utf-8")
        write_warmup(staging / "model", folder.name, run.streams, run.time_base)
        write_formats(formats, service.model, staging / "model")
        return (
            _take_next_version(staging / "model", folder)
            if is_on_disk
            else _put_next_version(staging / "model", folder)
        )
    finally:
        shutil.rmtree(staging)


def _take_next_version(model: Path, folder: Path) -> Path:
    """Moves a finished model to the next free version, also while others do the same."""
    while True:
        version = 1 + max((int(p.name) for p in folder.iterdir() if p.name.isdigit()), default=0)
        try:
            return model.rename(folder / str(version))
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise


def _put_next_version(model: Path, folder: Any) -> Path:
    """Puts a finished model where nothing can be renamed; saved_model.pb, without which it is none, comes last."""
    try:
        with lease(folder, "export"):
            versions_there = (int(p.name) for p in folder.iterdir() if p.name.isdigit())
            target = folder / str(1 + max(versions_there, default=0))
            put_folder(model, target, last="saved_model.pb")
            return path_of(target)
    except TakenError as error:
        raise UserError(
            f"{folder}: {error.holder} is exporting into it; expected to be the only one. Run it again when that has "
            f"ended. {error.cure}"
        ) from None


def main(argv: Sequence[str]) -> None:
    """Exports the run's model."""
    del argv
    for name in ("run_dir", "export_dir"):
        if not getattr(FLAGS, name):
            raise UsageError(f"--{name} is missing.")
    if FLAGS.max_detections < 1:
        raise UserError(f"--max_detections={FLAGS.max_detections}; expected 1 or more.")
    if Path(FLAGS.model_name).name != FLAGS.model_name or FLAGS.model_name in (".", ".."):
        raise UserError(f"--model_name={FLAGS.model_name!r}; expected a plain folder name.")
    opened = open_run(FLAGS.run_dir, from_flags(CheckpointChoice))
    run = opened.info
    config = from_flags(DetectionConfig, base=run.detection)
    check_formats(FLAGS.formats, detection=config)
    opened.check_detection(config)
    check_formats(FLAGS.formats, opened.model)
    service = Service(
        opened.model, run.classes, run.time_base, config, run.training.loss.top_k_divisor, FLAGS.max_detections,
        from_flags(Batching),
    )  # fmt: skip
    path = export(service, run, path_of(FLAGS.export_dir) / FLAGS.model_name, FLAGS.formats)
    print(f"Weights of {opened.source}.")
    print(f"SavedModel written to {path}.")
    for name in FLAGS.formats:
        if name != SAVED_MODEL:
            print(f"{path / f'model.{name}'}: features [T, {run.streams.width}] of one video; see docs/export.md.")
    for line in write_deployment(path_of(FLAGS.export_dir), FLAGS.model_name):
        print(line)
    rows = f"features [B, T, {run.streams.width}] ({run.streams.words()})"
    print(f"serving_default: {rows}, lengths [B]; all signatures: docs/export.md.")


if __name__ == "__main__":
    run_main(main, register_flags)
