"""Saving and restoring the network, its centers and the optimizer, under names that do not depend on Keras.

A checkpoint `step-N` is two files, `step-N.data-...` and `step-N.index`; the file `checkpoint` beside them names the
newest one and is replaced last, so an interrupted save leaves the earlier one in force.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from tc3net.common import stack
from tc3net.common.errors import UserError, plain_message
from tc3net.common.files import atomic_path
from tc3net.common.storage import path_of, remove_tree

if TYPE_CHECKING:
    from tc3net.model import ThreeCNet

_VALUE_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
_NOTES_KEY, _STACK_KEY = (f"{name}/.ATTRIBUTES/py_state" for name in ("notes", "stack"))


def _unreadable_errors() -> tuple[type[Exception], ...]:
    return (tf.errors.OpError, ValueError, RuntimeError, IndexError)


def _reader(path: str) -> Any:
    # `tf.train.load_checkpoint` looks for the file first, by a pattern, for which not every file system has an answer.
    return tf.compat.v1.train.NewCheckpointReader(path)


def _notes(value: Any = None) -> Any:
    from tc3net.runs.checkpoint_notes import Notes  # needs TensorFlow

    return Notes(value)


def saved_variables(model: ThreeCNet) -> dict[str, dict[str, tf.Variable]]:
    """What a checkpoint of a compiled model holds: network with centers, optimizer slots and step, and any averages."""
    averages = model.average.variables if model.average is not None else {}
    elsewhere = {id(variable) for variable in averages.values()}  # Lookahead's and SWA's are the optimizer's own
    numbered = enumerate(stack.optimizer_variables(model.optimizer))
    optimizer = {str(i): variable for i, variable in numbered if id(variable) not in elsewhere}
    return {
        "network": model.named_variables(),
        "optimizer": optimizer,
        **({"averages": averages} if averages else {}),
    }


def step_of(path: str | Path) -> int:
    """Training step of a checkpoint, from its name: `.../step-500` -> 500."""
    return int(str(path).rpartition("-")[2])


def _named(folder: Path) -> str | None:
    """The checkpoint that the file `checkpoint` names, whether it is there or not; None without that file.

    Raises:
        UserError: the file is there and names nothing.
    """
    state = folder / "checkpoint"
    if not state.is_file():
        return None
    found = re.search(r'^model_checkpoint_path: "(.*)"$', state.read_text(encoding="utf-8", errors="replace"), re.M)
    if found is None:
        raise UserError(f"{state}: expected the name of the newest checkpoint, found something else.")
    return str(folder / path_of(found[1]).name)


def _on_disk(folder: Path) -> list[str]:
    """Checkpoints with an index file, newest first."""
    found = [str(path.with_suffix("")) for path in folder.glob("step-*.index") if path.stem[5:].isdigit()]
    return sorted(found, key=step_of, reverse=True)


def damage(path: str) -> str | None:
    """Why a checkpoint cannot be read; None where all of it can. Reads every value, which verifies its checksum."""
    if not path_of(f"{path}.index").is_file():
        return f"{path}.index is absent"
    try:
        reader = _reader(path)
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except _unreadable_errors() as error:
        return plain_message(error)
    return None


class CheckpointFolder:
    """The newest checkpoints of a run in one folder, or its single best one.

    Args:
        folder: where the checkpoints lie.
        model: the compiled model they belong to.
        keep: how many to keep.
    """

    def __init__(self, folder: str | Path, model: ThreeCNet, keep: int) -> None:
        self._folder, self._model, self._keep = path_of(folder), model, keep
        self._notes = _notes()

    def save(self, step: int, notes: Any = None) -> str:
        """Saves the state after `step` steps; returns the checkpoint's path.

        Args:
            step: names the checkpoint.
            notes: a JSON value to be stored with the variables, see `restore`.
        """
        self._notes.value = notes
        self._folder.mkdir(parents=True, exist_ok=True)
        name = f"step-{step}"
        checkpoint = tf.train.Checkpoint(**saved_variables(self._model), notes=self._notes, stack=_notes(stack.NAME))
        try:
            path = checkpoint.write(str(self._folder / name))
        except BaseException:
            self._remove_unfinished(name)  # on a full disk it would be in the way of the next try
            raise
        with atomic_path(self._folder / "checkpoint") as temporary:
            temporary.write_text(f'model_checkpoint_path: "{name}"\n', encoding="utf-8")
        self._remove_all_but(step)
        return str(path)

    def _remove_unfinished(self, name: str) -> None:
        """Deletes what a save that failed left; a checkpoint that has its index was there before, and stays."""
        remove_tree(self._folder / f"{name}_temp", ignore_errors=True)
        if not (self._folder / f"{name}.index").exists():
            for data in self._folder.glob(f"{name}.*"):
                data.unlink(missing_ok=True)

    def _remove_all_but(self, step: int) -> None:
        """Leaves the newest checkpoints up to `step`; later ones are left over from a save that did not finish."""
        paths = _on_disk(self._folder)
        kept = [path for path in paths if step_of(path) <= step][: self._keep]
        for path in set(paths) - set(kept):
            path_of(f"{path}.index").unlink()  # first, so that no index is ever without its data
            for data in self._folder.glob(f"{path_of(path).name}.data-*"):
                data.unlink()
        for leftover in self._folder.glob("step-*_temp"):
            remove_tree(leftover)

    def newest_readable(self) -> str | None:
        """Path of the newest checkpoint that can be read in full; None for an empty folder.

        Damaged ones are reported and set aside (their files are renamed to end in `.damaged`), and the one before is
        taken.

        Raises:
            UserError: there are checkpoints, and none can be read.
        """
        try:
            named, complaint = _named(self._folder), None
        except UserError as error:
            named, complaint = None, str(error)
        paths = _on_disk(self._folder)
        problems = [complaint] if complaint else []
        for path in [named, *(p for p in paths if p != named)] if named else paths:
            problem = damage(path)
            if problem is None:
                if problems:
                    said = "; ".join(problems)
                    print(f"warning: {said}. Used instead: {path}.", file=sys.stderr, flush=True)
                return path
            problems.append(f"{path}: the checkpoint cannot be read ({problem})")
            for file in self._folder.glob(f"{path_of(path).name}.*"):
                if file.suffix != ".damaged":
                    file.rename(f"{file}.damaged")
        if problems:
            raise UserError(
                f"{'; '.join(problems)}. No other checkpoint is there. Copy one back, or empty the run folder to train "
                "from the beginning."
            )
        return None

    def restore(self, path: str) -> Any:
        """Restores a checkpoint, optimizer and centers included; returns the notes saved with it, or None.

        Raises:
            UserError: the checkpoint belongs to another architecture, optimizer or stack, or is damaged.
        """
        stored = check_shapes(path, self._model)
        objects: dict[str, Any] = saved_variables(self._model)
        if _STACK_KEY in stored:
            check_stack(path)
            objects["stack"] = _notes()
        self._notes.value = None
        if _NOTES_KEY in stored:
            objects["notes"] = self._notes
        try:
            tf.train.Checkpoint(**objects).read(path).assert_existing_objects_matched()
        except AssertionError:
            raise UserError(
                f"{path}: the checkpoint was saved with another optimizer. Give the flags of the run, or another "
                "--run_dir."
            ) from None
        return self._notes.value

    def restore_latest(self) -> str | None:
        """Restores the newest readable checkpoint; returns its path, or None where there is none.

        Raises:
            UserError: it belongs to another architecture, or none can be read.
        """
        path = self.newest_readable()
        if path is not None:
            self.restore(path)
        return path


def latest(folder: str | Path) -> str:
    """Path of the newest checkpoint in a folder, for inference: a damaged one is refused, not replaced by another.

    Raises:
        UserError: there is none, or the file `checkpoint` names one that is absent.
    """
    path = _named(path_of(folder))
    if path is None:
        raise UserError(f"{folder}: no checkpoint found; expected one written by `python -m tc3net.train`.")
    if not path_of(f"{path}.index").is_file():
        raise UserError(
            f"{path}: the checkpoint is absent, although {folder}/checkpoint names it; the folder holds "
            f"{[path_of(p).name for p in _on_disk(path_of(folder))]}. Copy it back, or resume the training, which goes "
            "on from an earlier one."
        )
    return path


def restore_network(path: str, model: ThreeCNet, weights: str = "averaged") -> bool:
    """Restores network and centers, for inference (no optimizer needed).

    Args:
        path: checkpoint path as `latest` returns it.
        model: model of the same architecture.
        weights: "averaged": the moving average of the weights where the checkpoint has one; "raw": those of the step.

    Returns:
        Whether the network's weights are averages.

    Raises:
        UserError: the checkpoint belongs to another architecture, or is damaged.
    """
    check_shapes(path, model)
    named, averaged = model.named_variables(), model.network_variables()
    stored = set(_reader(path).get_variable_to_shape_map())
    use_averages = weights == "averaged" and any(name.startswith("averages/") for name in stored)
    if use_averages:
        centers = {name: variable for name, variable in named.items() if name not in averaged}
        checkpoint = tf.train.Checkpoint(network=centers, averages=averaged)
    else:
        checkpoint = tf.train.Checkpoint(network=named)
    try:
        status = checkpoint.read(path)
    except _unreadable_errors() as error:
        raise _unreadable(path, error) from None
    status.assert_existing_objects_matched()
    status.expect_partial()
    return use_averages


def _unreadable(path: str, error: Exception) -> UserError:
    return UserError(
        f"{path}: the checkpoint cannot be read ({plain_message(error)}). Take the other one (--checkpoint=last or "
        "best), or resume the training, which goes on from an earlier one."
    )


def check_stack(path: str) -> None:
    """Raises UserError if the checkpoint is of the other stack, where the same optimizer orders its state otherwise."""
    written_by = json.loads(_reader(path).get_tensor(_STACK_KEY))
    if written_by != stack.NAME:
        raise UserError(
            f"{path}: the state of the optimizer was written with {written_by}, this is {stack.NAME}, where it has "
            "another form. Resume the run in the environment that it was started in (run.json names its versions), or "
            "train in another --run_dir. evaluate, predict, export and report take this run as it is."
        )


def check_shapes(path: str, model: ThreeCNet) -> dict[str, Any]:
    """Compares the variables of a checkpoint with the model's, before anything is restored; returns all its shapes.

    Raises:
        UserError: unreadable, or made by a model with other classes, feature size or layers.
    """
    try:
        stored: dict[str, Any] = _reader(path).get_variable_to_shape_map()
    except _unreadable_errors() as error:
        raise _unreadable(path, error) from None
    for name, variable in model.named_variables().items():
        found, expected = stored.get(f"network/{name}{_VALUE_SUFFIX}"), variable.shape.as_list()
        if found != expected:
            raise UserError(
                f"{path}: variable {name} has shape {found}, the model of {model.num_classes} classes and "
                f"the streams {model.stream_sizes.words()} expects {expected}. The checkpoint was trained with other "
                "classes, features or layers: give the run folder and the data set that belong together."
            )
    return stored
