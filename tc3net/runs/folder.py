"""The run folder: a trained model and everything needed to use it or to train it again.

flags.cfg         every flag, replayable with --flagfile
run.json          classes, feature size, time base, architecture, detection defaults, seed, data checksum, versions
metrics.jsonl     one JSON object per logging interval and per evaluation
checkpoints/      the newest checkpoints        best/   the one with the best evaluation
tensorboard/      event files
training.lock     locked by the process that trains, which it names
pseudo_segments.json   of a second stage: what the first one found in the training videos (docs/refinement.md)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tc3net.common.config import option
from tc3net.common.errors import UserError
from tc3net.common.files import read_json, write_json
from tc3net.common.storage import path_of
from tc3net.data.schema import Manifest
from tc3net.data.streams import Streams
from tc3net.model import ModelConfig
from tc3net.runs.checkpoints import latest, restore_network
from tc3net.runs.description import RunInfo, TrainingChoices
from tc3net.runs.lock import is_lock

if TYPE_CHECKING:
    from tc3net.model import ThreeCNet

PSEUDO_SEGMENTS = "pseudo_segments.json"
CHECKPOINTS = {"last": "checkpoints", "best": "best"}


@dataclass(frozen=True)
class CheckpointChoice:
    """Which of a run's weights a command uses."""

    checkpoint: str = option(
        "last", "The last checkpoint, or the one with the best evaluation.", choices=sorted(CHECKPOINTS)
    )
    weights: str = option(
        "averaged",
        "averaged: the average of the weights where the run has one (--ema_decay, --lookahead_steps, --swa_period), "
        "else the weights; raw: the weights of the step.",
        choices=("averaged", "raw"),
    )


def save_run(run_dir: str | Path, run: RunInfo) -> None:
    """Writes `run.json`."""
    write_json(path_of(run_dir) / "run.json", run.as_dict())


def load_run(run_dir: str | Path) -> RunInfo:
    """Reads `run.json`.

    Raises:
        UserError: not a run folder.
    """
    path = path_of(run_dir) / "run.json"
    raw = read_json(path, "description of a run, written by `python -m tc3net.train`")
    try:
        run = RunInfo.from_dict(raw)
        return run if run.test_subset is not None else replace(run, test_subset=_earlier_test_subset(path_of(run_dir)))
    except (AttributeError, KeyError, TypeError, UserError) as error:
        raise UserError(
            f"{path}: a field is missing or wrong ({error}); was it written by another version of tc3net? Train again."
        ) from None


def _earlier_test_subset(folder: Path) -> str | None:
    """The test subset of a run whose description does not hold it yet: of the flags that it was started with."""
    path = folder / "flags.cfg"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return next((line.partition("=")[2] for line in reversed(lines) if line.startswith("--test_subset=")), None)


def check_run_dir(run_dir: str | Path, run: RunInfo) -> RunInfo | None:
    """Looks whether a run may be started in a folder, and changes nothing.

    Args:
        run_dir: folder of the run.
        run: the run to be started.

    Returns:
        The earlier part of the same run, or None where the folder is new.

    Raises:
        UserError: the folder holds another run, or other files.
    """
    folder = path_of(run_dir)
    if (folder / "run.json").is_file():
        earlier = load_run(folder)
        for name in ("dataset", "classes", "streams", "model", "heads", "training"):
            found, wanted = _comparable(getattr(earlier, name)), _comparable(getattr(run, name))
            if found != wanted:
                raise UserError(
                    f"{folder} holds a run with another {name}: {_difference(found, wanted)}. "
                    "Choose another --run_dir, or give the earlier run's flags to resume it."
                )
        return earlier
    if folder.is_dir() and any(path.name != PSEUDO_SEGMENTS and not is_lock(path.name) for path in folder.iterdir()):
        raise UserError(f"{folder} is not empty and holds no run. Choose another --run_dir.")
    return None


def claim_run_dir(run_dir: str | Path, run: RunInfo) -> bool:
    """Makes the run folder, or recognises it as an earlier part of the same run and notes this start in it.

    Args:
        run_dir: folder of the run.
        run: the run to be started.

    Returns:
        Whether an earlier part is there (to be resumed).

    Raises:
        UserError: see `check_run_dir`.
    """
    earlier = check_run_dir(run_dir, run)
    path_of(run_dir).mkdir(parents=True, exist_ok=True)
    save_run(run_dir, run if earlier is None else replace(earlier, starts=(*earlier.starts, *run.starts)))
    return earlier is not None


def _comparable(value: Any) -> Any:
    """Choices by name, as they stand in the file."""
    if isinstance(value, TrainingChoices):
        return value.as_dict()
    if isinstance(value, Streams):
        return value.as_dict()
    return asdict(value) if isinstance(value, ModelConfig) else value


def _difference(found: Any, wanted: Any) -> str:
    """The first difference of two equal-typed values, in words."""
    if isinstance(found, Mapping) and isinstance(wanted, Mapping):
        key = next(k for k in {**found, **wanted} if found.get(k) != wanted.get(k))
        if isinstance(found.get(key), Mapping) and isinstance(wanted.get(key), Mapping):
            return f"{key}, {_difference(found[key], wanted[key])}"
        return f"{key} is {found.get(key)!r} there, {wanted.get(key)!r} here"
    return f"{_shorten(found)} there, {_shorten(wanted)} here"


def _shorten(value: Any) -> str:
    return f"{len(value)} classes beginning {list(value[:3])}" if isinstance(value, tuple) else repr(value)


def check_same_classes(run_dir: str | Path, run: RunInfo, dataset_dir: str | Path, manifest: Manifest) -> None:
    """Raises UserError unless a data set has the run's classes, in its order, and its feature size."""
    if run.classes != manifest.classes:
        raise UserError(
            f"{run_dir} was trained on {_shorten(run.classes)}; {dataset_dir} has {_shorten(manifest.classes)}. "
            "Give the data set that the run was trained on, or one converted with the same class list."
        )
    if run.streams != manifest.streams:
        raise UserError(
            f"{run_dir} was trained on the streams {run.streams.words()}; {dataset_dir} has "
            f"{manifest.streams.words()}. Convert features of the same extractor, with the same --streams."
        )


def checkpoint_of(run_dir: str | Path, which: str) -> str:
    """The path of a run's checkpoint, "last" or "best".

    Raises:
        UserError: it is not there.
    """
    return latest(path_of(run_dir) / CHECKPOINTS[which])


def load_model(run_dir: str | Path, which: str, weights: str = "averaged") -> tuple[ThreeCNet, RunInfo, str]:
    """The trained model of a run folder.

    Args:
        run_dir: folder of the run.
        which: "last" or "best".
        weights: "averaged" or "raw", see `CheckpointChoice`.

    Returns:
        The model with its weights, the run's description, and where the weights are from, in words.

    Raises:
        UserError: no run there, or no such checkpoint.
    """
    run = load_run(run_dir)
    from tc3net.model import ThreeCNet

    model = ThreeCNet(len(run.classes), run.streams, run.model, heads=run.make_heads())
    path = checkpoint_of(run_dir, which)
    averaged = restore_network(path, model, weights)
    return model, run, f"{path} (averaged weights)" if averaged else path
