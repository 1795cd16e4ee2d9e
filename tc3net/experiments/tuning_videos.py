"""What is tuned on: annotated videos that the model was not trained on, and never test videos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tc3net.common.errors import UserError
from tc3net.data.holdout import divide
from tc3net.data.split import Split
from tc3net.inference.raw_scores import RawScores
from tc3net.results.video_lists import read_names
from tc3net.runs.folder import load_run
from tc3net.runs.scoring import OpenedRun


def guarded_subset(given: str | None, run_dir: str | None) -> str:
    """The subset that must not be tuned on; empty if any may be.

    Args:
        given: by the user; None: the run's test subset, without a run "test".
        run_dir: run folder of the model, if there is one.

    Raises:
        UserError: no run there.
    """
    if given is not None:
        return given
    if not run_dir:
        return "test"
    return load_run(run_dir).test_subset or "test"


def check_subset(subset: str, guarded: str, what: str) -> None:
    """Raises UserError for the guarded subset, or an unknown one.

    Args:
        subset: of the videos to tune on; empty: unknown.
        guarded: see `guarded_subset`.
        what: where the videos come from, for the message.
    """
    if not subset:
        raise UserError(f"{what}: which subset these videos are of is not known. Say so with --subset=NAME.")
    if subset == guarded:
        raise UserError(
            f"{what}: subset {subset!r} is the test subset. Settings that are chosen on test videos make every number "
            "measured on them meaningless. Tune on videos held out from training (--subset, --videos)."
        )


def held_out_videos(dataset_dir: str, run: OpenedRun) -> Split:
    """Those videos of the training subset that the run held out.

    Raises:
        UserError: it held out none; no such subset in the data set.
    """
    training = run.info.training
    split = run.open_split(dataset_dir, training.train_subset)
    if not training.holdout_fraction:
        raise UserError(
            f"{run.run_dir} held out no training videos; expected some to tune on. Train with --holdout_fraction=0.2, "
            "or name a subset that it was not trained on: --subset=NAME "
            f"(--subset={training.train_subset} tunes on its training videos, whose T-CAMs are better than new ones')."
        )
    return divide(split, training.holdout_fraction, training.inputs.seed)[1]


def videos_of_file(files: Sequence[RawScores], path: str | Path) -> list[RawScores]:
    """The scores of the videos whose ids a text file lists, one per line.

    Args:
        files: raw scores; each must hold all of these videos.
        path: the text file.

    Raises:
        UserError: no such text file, no ids in it, or ids of other videos.
    """
    ids = read_names(path)
    for scores in files:
        unknown = sorted(ids - set(scores.video_ids))
        if unknown:
            raise UserError(f"{path}: {len(ids)} video ids, {len(unknown)} not among the scored videos: {unknown[:3]}.")
    return [scores.of_videos(ids) for scores in files]
