"""The files beside exported models: what they hold, and that nobody's changes are lost."""

from __future__ import annotations

import re
import socket
import subprocess
from pathlib import Path

import yaml
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from tc3net.saved_model.deployment import exported_models, health_command, models_config, write_deployment
from tests.support.serving_cases import MODEL
from tests.support.serving_export import export_model
from tests.support.serving_stand_in import StandIn

NAMES = ("models.config", "batching_params.pbtxt", "docker-compose.yml")


def folder_with(tmp_path: Path, *models: str) -> Path:
    for model in models:
        (tmp_path / model / "1").mkdir(parents=True, exist_ok=True)
    return tmp_path


def parsed(path: Path) -> dict[str, str]:
    """Base path by model name."""
    config = text_format.Parse(path.read_text(encoding="utf-8"), model_server_config_pb2.ModelServerConfig())
    for model in config.model_config_list.config:
        assert model.model_platform == "tensorflow"
        assert model.model_version_policy.latest.num_versions == 2
    return {model.name: model.base_path for model in config.model_config_list.config}


def test_everything_is_written_once(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, "tc3net")
    lines = write_deployment(folder, "tc3net")
    assert [Path(line.split(":")[0]).name for line in lines] == list(NAMES)
    assert all("written" in line for line in lines)
    assert sorted(path.name for path in folder.iterdir()) == sorted([*NAMES, "tc3net"])  # nothing temporary is left
    before = {name: (folder / name).stat().st_mtime_ns for name in NAMES}
    lines = write_deployment(folder, "tc3net")
    assert "up to date" in lines[0] and lines[1].endswith(": kept") and lines[2].endswith(": kept")
    assert before == {name: (folder / name).stat().st_mtime_ns for name in NAMES}


def test_every_exported_model_is_listed(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, "b", 'quote " and ü', "a")
    for other in ("no_version/assets", "staging/.export.1", "zero/0", ".hidden/1"):
        (folder / other).mkdir(parents=True)
    (folder / "file").write_text("")
    assert exported_models(folder) == ["a", "b", 'quote " and ü']
    write_deployment(folder, "b")
    assert parsed(folder / "models.config") == {name: f"/models/{name}" for name in exported_models(folder)}
    folder_with(tmp_path, "c")
    assert "written (a, b, c" in write_deployment(folder, "c")[0]
    assert "c" in parsed(folder / "models.config")


def test_what_was_changed_is_kept(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, "a")
    write_deployment(folder, "a")
    changed = {}
    for name in NAMES:
        path = folder / name
        changed[name] = path.read_text().replace("2", "1")
        path.write_text(changed[name])
    assert write_deployment(folder, "a")[0].endswith("kept as you changed it")
    folder_with(tmp_path, "b")
    assert "does not list 'b': add it" in write_deployment(folder, "b")[0]
    assert {name: (folder / name).read_text() for name in NAMES} == changed


def test_batching_parameters(tmp_path: Path) -> None:
    """BatchingParameters is in no package: its fields, by hand."""
    write_deployment(folder_with(tmp_path, "a"), "a")
    lines = (tmp_path / "batching_params.pbtxt").read_text().splitlines()
    values = [line for line in lines if line and not line.startswith("#")]
    wrapped = ("max_batch_size", "batch_timeout_micros", "num_batch_threads", "max_enqueued_batches")
    patterns = [rf"{name} {{ value: \d+ }}" for name in wrapped] + ["pad_variable_length_inputs: true"]
    assert len(values) == len(patterns)
    for value, pattern in zip(values, patterns):
        assert re.fullmatch(pattern, value)


def test_compose_file(tmp_path: Path) -> None:
    write_deployment(folder_with(tmp_path, "a"), "a")
    service = yaml.safe_load((tmp_path / "docker-compose.yml").read_text())["services"]["serving"]
    assert re.fullmatch(r"tensorflow/serving:\d+\.\d+\.\d+", service["image"])
    assert service["ports"] == ["127.0.0.1:8500:8500", "127.0.0.1:8501:8501"]
    assert service["volumes"] == ["./:/models:ro"]
    assert service["command"] == [
        "--model_config_file=/models/models.config",
        "--model_config_file_poll_wait_seconds=30",
        "--rest_api_timeout_in_ms=120000",
    ]
    assert service["healthcheck"]["test"] == ["CMD", "bash", "-c", health_command("a")]


def check(name: str, address: str) -> int:
    command = health_command(name, int(address.rpartition(":")[2]))
    return subprocess.run(["bash", "-c", command], capture_output=True, timeout=30).returncode


def test_health_check(tmp_path: Path) -> None:
    export_model(tmp_path)
    with StandIn(tmp_path) as server:
        assert check(MODEL, server.rest_address) == 0
        assert check("other", server.rest_address) == 1
        server.loading = True
        assert check(MODEL, server.rest_address) == 1
    with socket.socket() as taken:  # bound but not listening
        taken.bind(("127.0.0.1", 0))
        assert check(MODEL, f"127.0.0.1:{taken.getsockname()[1]}") == 1
    assert "$" not in health_command("a")  # Compose would replace it


def test_a_folder_without_models_gives_an_empty_list() -> None:
    config = text_format.Parse(models_config([]), model_server_config_pb2.ModelServerConfig())
    assert len(config.model_config_list.config) == 0
