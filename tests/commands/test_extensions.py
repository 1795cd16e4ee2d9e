"""What docs/extending.md promises: terms and heads of a user's module train, resume, evaluate, predict and export."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tc3net.training.metrics_log import read_metrics
from tests.support import forked_commands
from tests.support.data import make_video, write_dataset
from tests.support.docs import ROOT, code_blocks, write_module

EXTENSIONS = "--extensions=my_package.smoothness,my_package.gate"
# The user's folder is the working directory, as with `python -m`; tc3net is installed or on PYTHONPATH.
TRAIN = ("tc3net.train", "--batch_size=4", "--crop_segments=8", "--log_every=1", "--eval_every=0", "--notensorboard")
CHOSEN = ("--smoothness_weight=0.5", "--gate", "--ema_decay=0.9")


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder: the package of the documentation, and a data set."""
    folder = tmp_path_factory.mktemp("user")
    for section, name in (("A loss", "smoothness"), ("A layer or head", "gate")):
        (source,) = code_blocks("extending.md", section)
        write_module(folder, name, source)
    lengths = [3, 40, 9, 17, 8, 25, 12, 30]
    splits = {name: [make_video(i, name, s) for i, s in enumerate(lengths)] for name in ("validation", "test")}
    write_dataset(folder / "dataset", splits)
    return folder


def command(user: Path, *arguments: str, fails: bool = False) -> str:
    status, output = forked_commands.screen(arguments, user)
    assert (status != 0) == fails, output
    assert "Traceback" not in output, output
    return output


def train(user: Path, name: str, iterations: int, *flags: str) -> Path:
    command(user, *TRAIN, *flags, f"--iterations={iterations}", "--dataset_dir=dataset", f"--run_dir={name}")
    return user / name


def checkpoint(run_dir: Path, step: int) -> dict[str, np.ndarray]:
    reader = tf.train.load_checkpoint(str(run_dir / "checkpoints" / f"step-{step}"))
    names = [name for name in reader.get_variable_to_shape_map() if "VARIABLE_VALUE" in name]
    return {name.partition("/.ATTRIBUTES")[0]: reader.get_tensor(name) for name in names}


@pytest.fixture(scope="module")
def run(user: Path) -> Path:
    """Trained with the term and the head, in two parts."""
    evaluated = (EXTENSIONS, *CHOSEN, "--eval_every=2")
    train(user, "run", 2, *evaluated)
    return train(user, "run", 4, *evaluated)


def test_the_term_is_reported_and_the_head_is_checkpointed_averaged_and_moved(user: Path, run: Path) -> None:
    logged = [entry for entry in read_metrics(run) if "loss" in entry]
    assert [entry["step"] for entry in logged] == [1, 2, 3, 4]
    assert all(entry["smoothness"] > 0 for entry in logged)
    first, last = checkpoint(run, 2), checkpoint(run, 4)
    for name in ("network/gate_dense_kernel", "network/gate_dense_bias", "averages/gate_dense_kernel"):
        assert name in last and not np.array_equal(first[name], last[name])
    description = json.loads((run / "run.json").read_text())
    assert description["extensions"] == ["my_package.smoothness", "my_package.gate"]
    assert description["heads"] == {"gate": {"gate": True}}
    assert description["training"]["terms"] == {"smoothness": {"smoothness_weight": 0.5}}


def test_a_resumed_run_equals_an_uninterrupted_one(user: Path, run: Path) -> None:
    whole = checkpoint(train(user, "whole", 4, EXTENSIONS, *CHOSEN), 4)
    parts = checkpoint(run, 4)
    assert whole.keys() == parts.keys()
    for name, value in whole.items():
        np.testing.assert_allclose(parts[name], value, rtol=1e-5, atol=1e-7, err_msg=name)


def test_other_choices_of_an_extension_are_another_run(user: Path, run: Path) -> None:
    arguments = ("--iterations=6", "--dataset_dir=dataset", f"--run_dir={run}")
    found = command(user, *TRAIN, EXTENSIONS, "--smoothness_weight=0.25", *CHOSEN[1:], *arguments, fails=True)
    assert "another training" in found and "smoothness_weight is 0.5 there, 0.25 here" in found
    found = command(user, *TRAIN, EXTENSIONS, CHOSEN[0], CHOSEN[2], *arguments, fails=True)
    assert "another heads" in found


def test_switched_off_extensions_change_nothing(user: Path) -> None:
    without, off = train(user, "without", 2), train(user, "off", 2, EXTENSIONS)
    assert checkpoint(without, 2).keys() == checkpoint(off, 2).keys()
    for name, value in checkpoint(without, 2).items():
        np.testing.assert_array_equal(checkpoint(off, 2)[name], value, err_msg=name)
    assert "smoothness" not in read_metrics(off)[0]


def test_the_run_is_evaluated_exported_and_used_without_its_module(user: Path, run: Path) -> None:
    refused = command(user, "tc3net.evaluate", f"--run_dir={run}", "--dataset_dir=dataset", fails=True)
    assert "made with --extensions=my_package.smoothness,my_package.gate; not loaded here" in refused
    command(user, "tc3net.evaluate", EXTENSIONS, f"--run_dir={run}", "--dataset_dir=dataset")
    scores = np.load(run / "evaluation" / "raw_scores.npz")
    command(user, "tc3net.export", EXTENSIONS, f"--run_dir={run}", "--export_dir=export")
    served = tf.saved_model.load(str(user / "export" / "tc3net" / "1")).signatures["serving_default"]
    video = make_video(0, "test", 3)
    features = tf.constant(np.concatenate(list(video.features.values()), axis=1)[np.newaxis])
    found = served(features=features, lengths=tf.constant([3], tf.int64))
    np.testing.assert_allclose(found["tcam"][0, :3], scores["tcam"][:3], rtol=1e-5, atol=1e-6)


def test_a_flagfile_may_name_the_extensions_and_a_wrong_name_is_one_line(user: Path) -> None:
    (user / "mine.cfg").write_text(f"{EXTENSIONS}\n--smoothness_weight=0.5\n")
    run_dir = train(user, "by_flagfile", 1, "--flagfile=mine.cfg")
    assert json.loads((run_dir / "run.json").read_text())["training"]["terms"]
    assert "--extensions=" in (run_dir / "flags.cfg").read_text()
    found = command(user, *TRAIN, "--extensions=my_package.smoothnes", fails=True)
    assert "error: --extensions=my_package.smoothnes: the module cannot be imported" in found
    assert len(found.strip().splitlines()) == 1
    shown = command(user, "tc3net.train", EXTENSIONS, "--helpfull")
    assert "--smoothness_weight" in shown and "--extensions" in shown


def test_the_commands_of_the_page_name_flags_that_exist() -> None:
    text = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    assert "--smoothness_weight=0.1" in text and "--gate " in text
