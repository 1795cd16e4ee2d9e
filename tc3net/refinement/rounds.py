"""A refinement: each round trains a new network on what the stage before it found in the training videos.

OUT/round1, OUT/round2, ... are run folders like any other; each holds the pseudo segments it learned from.
OUT/round0 is the first stage, where none was given.
"""

from __future__ import annotations

import hashlib
import signal
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from tc3net.common.config import option
from tc3net.common.errors import UserError
from tc3net.common.names import counted
from tc3net.data.schema import Manifest
from tc3net.data.subset_names import find_subset, is_test_subset
from tc3net.detection import DetectionConfig
from tc3net.losses.pseudo_segments import PseudoSegmentTerm
from tc3net.refinement.choice import ACTION, PseudoConfig, targets_of
from tc3net.refinement.finding import find_segments, read_annotated
from tc3net.refinement.pseudo_file import load_segments, save_segments
from tc3net.runs.description import RunInfo
from tc3net.runs.folder import PSEUDO_SEGMENTS, CheckpointChoice, check_same_classes, load_run
from tc3net.runs.scoring import open_run
from tc3net.training.session import Place, Videos, train_run
from tc3net.training.settings import Settings

if TYPE_CHECKING:
    from tc3net.model import ThreeCNet
from tc3net.training.strategies import from_chief, is_chief


@dataclass(frozen=True)
class RoundsConfig:
    """What a refinement begins with, and how long it is."""

    first_run: str = option(
        "",
        "Run folder of the first stage; its training videos are those of this command. None: it is trained here, with "
        "these flags, as RUN_DIR/round0.",
    )
    first_detection: str = option(
        "",
        "Flagfile of the detection settings that find the segments of the first round; empty: those of this command, "
        "which find those of the others.",
    )
    rounds: int = option(1, "How many networks are trained, each on what the one before it found.")

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise UserError(f"--rounds={self.rounds}; expected 1 or more.")


@dataclass(frozen=True)
class Refinement:
    """Every choice of a refinement beside those of a training.

    Attributes:
        rounds: first stage and number of rounds.
        choice: which weights of each stage find the segments for the next one.
        pseudo: how they are chosen and weighted.
        first_detection: settings that find the segments of the first round; None: those of the training. The
            values of a first stage's T-CAM mean little, those of the rounds after it are trained to be probabilities.
    """

    rounds: RoundsConfig
    choice: CheckpointChoice = CheckpointChoice()
    pseudo: PseudoConfig = PseudoConfig()
    first_detection: DetectionConfig | None = None

    def detection(self, number: int, settings: Settings) -> DetectionConfig:
        """What finds the segments of a round, counted from 1."""
        return self.first_detection if number == 1 and self.first_detection is not None else settings.detection


def round_dir(run_dir: str | Path, number: int) -> Path:
    """Run folder of a round, counted from 1; 0: of a first stage that is trained here."""
    return Path(run_dir) / f"round{number}"


def last_round(run_dir: str | Path) -> Path:
    """Run folder of the last round that was begun.

    Raises:
        UserError: there is none.
    """
    numbers = [int(path.name[5:]) for path in Path(run_dir).glob("round*") if path.name[5:].isdigit()]
    if not numbers:
        raise UserError(f"{run_dir}: no rounds in it; expected a folder that `python -m tc3net.refine` wrote.")
    return round_dir(run_dir, max(numbers))


def check_refinement(
    settings: Settings, refinement: Refinement, run_dir: str, dataset_dir: str, videos: Videos
) -> None:
    """Raises UserError for what would fail later, learn from a test video, or mean something else than it seems to.

    Args:
        settings: of each round's training.
        refinement: the rest.
        run_dir: folder of the rounds.
        dataset_dir: data set.
        videos: of `open_videos`.
    """
    subset = videos.training.subset
    if is_test_subset(subset) or (videos.test is not None and videos.test.subset == subset):
        raise UserError(
            f"--train_subset={subset} is a subset to be tested on; a second stage learns from what was found in the "
            "training videos alone. Give the subset that the first stage was trained on."
        )
    if settings.inputs.batches == "cropped" and refinement.pseudo.pseudo_batches == "full":
        raise UserError(
            "--batches=cropped with --pseudo_batches=full: the pseudo segments would never be used. Set "
            "--pseudo_batches=all, or --batches=alternate."
        )
    if (Path(run_dir) / "run.json").is_file():
        raise UserError(
            f"{run_dir} is the folder of a run; expected one for the rounds ({round_dir(run_dir, 1)}, ...). Choose "
            "another --run_dir."
        )
    if refinement.rounds.first_run:
        _check_first_run(load_run(refinement.rounds.first_run), settings, refinement, dataset_dir, videos)


def _check_first_run(
    first: RunInfo, settings: Settings, refinement: Refinement, dataset_dir: str, videos: Videos
) -> None:
    """Raises UserError unless the first stage was trained on the same training videos, and held out the same."""
    name, manifest = refinement.rounds.first_run, videos.training.manifest
    check_same_classes(name, first, dataset_dir, manifest)
    subset = find_subset(first.training.train_subset, manifest.splits)
    if subset != videos.training.subset or first.training.shards.get(subset) != _shards(manifest, subset):
        raise UserError(
            f"{name} was trained on the subset {first.training.train_subset!r} of {first.dataset}; this is the subset "
            f"{videos.training.subset!r} of {manifest.title} (other files). Give the data set and --train_subset of "
            "the first stage."
        )
    found = (first.training.holdout_fraction, first.training.inputs.seed)
    wanted = (settings.selection.holdout_fraction, settings.inputs.seed)
    if found[0] != wanted[0] or (wanted[0] and found != wanted):
        raise UserError(
            f"{name} was trained with --holdout_fraction={found[0]:g} --seed={found[1]}, here they are {wanted[0]:g} "
            f"and {wanted[1]}: other videos would be held out. Give the first stage's, so that what it held out stays "
            "held out."
        )


def _shards(manifest: Manifest, subset: str) -> list[str]:
    return [shard.sha256 for shard in manifest.splits[subset].shards]


def weights_checksum(model: ThreeCNet) -> str:
    """SHA-256 over the values of a model's variables, by name."""
    digest = hashlib.sha256()
    for name, variable in sorted(model.named_variables().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tf.convert_to_tensor(variable).numpy()).tobytes())
    return digest.hexdigest()


def make_segments(
    previous: str, path: Path, detection: DetectionConfig, refinement: Refinement, videos: Videos
) -> None:
    """Writes the pseudo segments that a stage gives, or checks that those that are there are these.

    Args:
        previous: run folder of the stage.
        path: the file.
        detection: what makes detections.
        refinement: what makes pseudo segments of them.
        videos: of the run.

    Raises:
        UserError: the file is there and is of another stage or other settings, or it is damaged.
    """
    run, manifest = open_run(previous, refinement.choice), videos.training.manifest
    source = {
        "checkpoint": Path(run.source).name,
        "weights": weights_checksum(run.model),
        "detection": asdict(detection),
        "choice": _choosing(refinement.pseudo),
    }
    if path.is_file():
        _, found, _ = load_segments(path, manifest.classes)
        # A setting that there was not when the file was written was as it is by default.
        found = {**found, "detection": {**asdict(DetectionConfig()), **found.get("detection", {})}}
        other = [name for name, value in source.items() if name != "checkpoint" and found.get(name) != value]
        if other:
            raise UserError(
                f"{path} was made with another {' and '.join(other)} than {previous} and the flags now give. Give the "
                "earlier ones to resume, or choose another --run_dir."
            )
        return
    split = videos.training
    scores = run.score(split, keep_streams=detection.needs_streams)
    annotated = read_annotated(split)
    found_segments = find_segments(scores, annotated, detection, refinement.pseudo)
    save_segments(path, found_segments, manifest.classes, source)
    actions = int((found_segments.state == ACTION).sum())
    pairs = len({*zip(found_segments.video.tolist(), found_segments.label.tolist())})
    print(
        f"{counted(actions, 'pseudo segment')} of {pairs} (video, class) pairs found by {run.source} in "
        f"{counted(split.num_videos, 'training video')}: {path}",
        flush=True,
    )
    if not actions:
        raise UserError(
            f"{previous} finds nothing in its training videos with these detection settings, so that there is nothing "
            "to learn from. Give other detection settings, such as --flagfile=configs/thumos14_plus.cfg."
        )


def _choosing(config: PseudoConfig) -> dict[str, Any]:
    """The choices that decide which finds are in the file; the others act on them afterwards."""
    names = ("pseudo_selection", "pseudo_share", "pseudo_max_tiou", "pseudo_unsure")
    return {name: getattr(config, name) for name in names}


def with_segments(settings: Settings, path: Path, config: PseudoConfig, videos: Videos) -> Settings:
    """The settings of a training that learns from pseudo segments.

    Args:
        settings: without them.
        path: the file.
        config: how they are weighted.
        videos: of the run.

    Raises:
        UserError: the file is not there, damaged, or of other videos.
    """
    found, _, checksum = load_segments(path, videos.training.manifest.classes)
    annotated = read_annotated(videos.training)
    if found.video_ids != annotated.video_ids or (found.num_segments != annotated.num_segments).any():
        raise UserError(
            f"{path} holds pseudo segments of other videos than the training videos here. Give the first stage's data "
            "set, --holdout_fraction and --seed, or choose another --run_dir."
        )
    facts = {"uncertainty": config.pseudo_uncertainty, "sha256": checksum}
    targets = targets_of(found, config)
    term = PseudoSegmentTerm(targets, config.pseudo_weight, config.pseudo_batches, facts, config.pseudo_tcams)
    return replace(settings, terms=(*settings.terms, term))


def refine(
    settings: Settings, refinement: Refinement, videos: Videos, strategy: tf.distribute.Strategy, place: Place
) -> signal.Signals | None:
    """Trains the rounds, or what remains of them; every worker calls it.

    Args:
        settings: of each round's training, checked by `check_refinement`.
        refinement: the rest.
        videos: of `open_videos`, divided.
        strategy: of the devices.
        place: `run_dir` is the folder of the rounds.

    Returns:
        The signal that ended it early, None where all rounds are finished.

    Raises:
        UserError: see `make_segments`, `with_segments`, `train_run`.
    """
    previous = refinement.rounds.first_run
    if not previous:
        previous = str(round_dir(place.run_dir, 0))
        if is_chief(strategy):
            print(f"First stage: {previous}", flush=True)
        stopped_by = train_run(settings, videos, strategy, replace(place, run_dir=previous))
        if stopped_by is not None:
            return stopped_by
    for number in range(1, refinement.rounds.rounds + 1):
        folder = round_dir(place.run_dir, number)
        chief = is_chief(strategy)
        if chief:
            print(f"Round {number} of {refinement.rounds.rounds}: {folder}, after {previous}", flush=True)
            detection = refinement.detection(number, settings)
            make_segments(previous, folder / PSEUDO_SEGMENTS, detection, refinement, videos)
        from_chief(strategy, 0)  # the others read the file that the chief has written
        learning = with_segments(settings, folder / PSEUDO_SEGMENTS, refinement.pseudo, videos)
        stopped_by = train_run(learning, videos, strategy, replace(place, run_dir=str(folder)))
        if stopped_by is not None:
            return stopped_by
        previous = str(folder)
    return None
