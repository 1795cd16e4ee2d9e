"""One run from its settings to its last step: its videos, its folder, its model, and what is said in the end.

What `python -m tc3net.train` does with its flags, and what each round of a refinement does.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import tensorflow as tf

from tc3net.common.files import atomic_path
from tc3net.common.names import counted
from tc3net.common.storage import path_of
from tc3net.data.holdout import divide
from tc3net.data.split import Split, open_split
from tc3net.runs.description import RunInfo
from tc3net.runs.folder import check_run_dir, claim_run_dir
from tc3net.runs.lock import training_lock
from tc3net.training.settings import Settings
from tc3net.training.strategies import is_chief
from tc3net.training.tensorboard_log import TensorBoardLog
from tc3net.training.trainer import Trainer
from tc3net.training.validation import Validation


@dataclass(frozen=True)
class Place:
    """Where a run reads and writes, and what it notes of the flags it was started with.

    Attributes:
        dataset_dir: converted data set.
        run_dir: run folder.
        flags: text of its flags.cfg.
        shown_flags: name, value, and default where that is another, of every flag; for TensorBoard.
    """

    dataset_dir: str
    run_dir: str
    flags: str = ""
    shown_flags: Sequence[tuple[str, str, str]] = ()


@dataclass(frozen=True)
class Videos:
    """What a run learns from and is measured on.

    Attributes:
        training: videos that it is trained on.
        test: test subset, if it is watched.
        held_out: held-out training videos, if there are any.
    """

    training: Split
    test: Split | None = None
    held_out: Split | None = None

    def divided(self, settings: Settings) -> Videos:
        """With some of the training videos held out, if the settings say so. It runs TensorFlow operations: only after
        `make_strategy`.

        Raises:
            UserError: one of the two parts would have no labelled video, or a record is damaged.
        """
        if not settings.selection.holdout_fraction:
            return self
        training, held_out = divide(self.training, settings.selection.holdout_fraction, settings.inputs.seed)
        return Videos(training, self.test, held_out)


def open_videos(settings: Settings, dataset_dir: str) -> Videos:
    """The videos of a run, none of them held out yet.

    Raises:
        UserError: a subset is not there, a file of it is damaged, or it has nothing for a loss that is asked for.
    """
    split = open_split(dataset_dir, settings.train_subset)
    test = open_split(dataset_dir, settings.test_subset) if settings.test_subset else None
    settings.check_data(dataset_dir, split.manifest)
    return Videos(split, test)


def train_run(
    settings: Settings, videos: Videos, strategy: tf.distribute.Strategy, place: Place
) -> signal.Signals | None:
    """Trains a run, or what remains of it; every worker calls it.

    Args:
        settings: every choice.
        videos: of `open_videos`, divided.
        strategy: of the devices.
        place: its folder.

    Returns:
        The signal that ended it early, see `Trainer.train`.

    Raises:
        UserError: the folder holds another run or is in use, or training cannot go on.
    """
    run = settings.describe(videos.training.manifest)
    require_lock: Callable[[], None] = lambda: None  # noqa: E731
    with contextlib.ExitStack() as held:
        if is_chief(strategy):
            check_run_dir(place.run_dir, run)  # before the lock leaves a file there
            require_lock = held.enter_context(training_lock(place.run_dir))
            claim_run_dir(place.run_dir, run)
            with atomic_path(path_of(place.run_dir) / "flags.cfg") as path:
                path.write_text(place.flags, encoding="utf-8")
        return _train(settings, run, videos, strategy, place, require_lock)


def _train(
    settings: Settings,
    run: RunInfo,
    videos: Videos,
    strategy: tf.distribute.Strategy,
    place: Place,
    require_lock: Callable[[], None],
) -> signal.Signals | None:
    """Trains in the claimed run folder."""
    manifest, chief = videos.training.manifest, is_chief(strategy)
    with strategy.scope():
        model = settings.make_model(manifest)
    selection, selected_by = settings.selected_by(manifest)
    evaluate = None
    if selection:
        evaluate = Validation(
            model,
            settings.detection,
            settings.protocols,
            test=videos.test,
            held_out=videos.held_out,
            selection=selection,
        )
    if chief:
        print(
            f"{manifest.title}: {counted(videos.training.num_videos, 'training video')}"
            f"{f' and {videos.held_out.num_videos} held out' if videos.held_out else ''}, "
            f"{counted(len(manifest.classes), 'class')}, streams {manifest.streams.words()}, "
            f"{strategy.num_replicas_in_sync} device(s)",
            flush=True,
        )
    observers = []
    if chief and settings.tensorboard.tensorboard:
        card = settings.card(run, place.shown_flags)
        observers = [TensorBoardLog(place.run_dir, model, settings.detection, settings.tensorboard, card)]
    trainer = Trainer(model, strategy, settings.trainer, place.run_dir, evaluate, observers, require_lock)
    stopped_by = trainer.train(videos.training, settings.inputs)
    if chief:
        _print_last_words(settings, place, trainer.step, stopped_by, selected_by)
    return stopped_by


def _print_last_words(
    settings: Settings, place: Place, step: int, stopped_by: signal.Signals | None, selected_by: str
) -> None:
    """Says how the run ended, and what to do next."""
    if stopped_by is not None:
        print(
            f"Stopped by {stopped_by.name} after step {step}; everything is saved in {place.run_dir}. "
            "The same command resumes the run."
        )
        return
    if selected_by:
        print(f"{place.run_dir}/best holds the checkpoint selected by {selected_by}.")
    print(
        f"Finished. Evaluate with: python -m tc3net.evaluate --run_dir={place.run_dir} "
        f"--dataset_dir={place.dataset_dir} --subset={settings.test_subset or settings.train_subset}"
        f"{' --checkpoint=best' if settings.selection.holdout_fraction else ''}"
    )
