"""Files with which a folder of exported models is served: TensorFlow Serving's configuration, and Docker Compose's.

They are written beside the models and are the user's to change: what was changed is never overwritten.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from urllib.parse import quote

from tc3net.common.files import atomic_path
from tc3net.common.storage import path_of

# As new as the TensorFlow of requirements.txt: a server need not understand what a newer TensorFlow exported.
SERVING_IMAGE = "tensorflow/serving:2.21.0"
REST_PORT = 8501
MODELS_FILE, BATCHING_FILE, COMPOSE_FILE = "models.config", "batching_params.pbtxt", "docker-compose.yml"

_MARKER = "# Written by tc3net.export, again with every new model until somebody changes it; rest of the file: sha256 "

_MODEL = """  config {{
    name: {name}
    base_path: {base_path}
    model_platform: "tensorflow"
    # The two newest versions stay loaded: requests get the newest, and the one before it is at hand. num_versions: 1
    # saves its memory. To go back: replace the line by  model_version_policy {{ specific {{ versions: 1 }} }}
    model_version_policy {{ latest {{ num_versions: 2 }} }}
    # Names for versions, for clients that ask for a name (of versions that are loaded already):
    # version_labels {{ key: "stable" value: 1 }}
  }}
"""

_BATCHING = """\
# TensorFlow Serving's own batching: requests that arrive together run as one. Read only where docker-compose.yml says
# --enable_batching, and better left off: the exported model joins the videos of concurrent requests itself, after it
# has checked each (python -m tc3net.export --max_batch_videos). Here they are merged before that, so one bad request
# fails every request it was merged with.

# Videos in one batch, over all requests merged into it. Memory grows with it.
max_batch_size { value: 8 }
# How long the first request of a batch waits for others, in microseconds. Little against the time a video takes.
batch_timeout_micros { value: 5000 }
# Batches that run at once; each already uses all cores, or the whole GPU.
num_batch_threads { value: 1 }
# Batches that may wait; beyond that, requests are refused as UNAVAILABLE and clients try again later.
max_enqueued_batches { value: 32 }
# Videos differ in length: features are padded, with their first value, to the longest of the batch. That is safe,
# because each request says how many rows are real (lengths). Without it, such requests fail.
pad_variable_length_inputs: true
# No allowed_batch_sizes: they would fill a batch up with copies of a video, which are computed and thrown away.
"""

_COMPOSE = """\
# Serves every model of this folder:  docker compose up -d
# Stop: docker compose down. State: docker compose ps (healthy: the model answers).
services:
  serving:
    image: {image}
    restart: unless-stopped
    ports:
      # This machine only, since the server asks nobody for a password. For others: "8500:8500", behind a firewall.
      - "127.0.0.1:8500:8500"  # gRPC
      - "127.0.0.1:{port}:{port}"  # REST
    volumes:
      # The folder, not its files: a replaced file would otherwise never be seen.
      - ./:/models:ro
    command:
      - --model_config_file=/models/{models}
      - --model_config_file_poll_wait_seconds=30  # a new model is served within this time, a new version within 1 s
      - --rest_api_timeout_in_ms=120000  # the default of 30 s is short for hours of video on a CPU
      # - --enable_batching  # read {batching} first
      # - --batching_parameters_file=/models/{batching}
    healthcheck:
      # The image has neither curl nor wget.
      test: ["CMD", "bash", "-c", {check}]
      interval: 10s
      timeout: 5s
      retries: 3
      start_period: 60s  # loading
"""


def health_command(model_name: str, port: int = REST_PORT) -> str:
    """A bash command that succeeds if some version of a model answers at a REST port of this machine."""
    request = f"'GET /v1/models/{quote(model_name)} HTTP/1.0' 'Host: localhost' ''"
    return f"exec 3<>/dev/tcp/127.0.0.1/{port} && printf '%s\\r\\n' {request} >&3 && grep -q '\"AVAILABLE\"' <&3"


def exported_models(export_dir: str | Path) -> list[str]:
    """Names of the models in a folder: its sub-folders that hold a version, a folder named by a positive integer."""

    def has_version(folder: Path) -> bool:
        return any(path.is_dir() and path.name.isdigit() and int(path.name) > 0 for path in folder.iterdir())

    folders = (path for path in path_of(export_dir).iterdir() if path.is_dir() and not path.name.startswith("."))
    return sorted(folder.name for folder in folders if has_version(folder))


def models_config(names: list[str]) -> str:
    """TensorFlow Serving's list of models, a ModelServerConfig in text format; its first line holds its checksum."""
    quoted = {name: json.dumps(name, ensure_ascii=False) for name in names}
    models = (_MODEL.format(name=quoted[name], base_path=f'"/models/{quoted[name][1:]}') for name in names)
    body = f"model_config_list {{\n{''.join(models)}}}\n"
    return f"{_MARKER}{_checksum(body)}\n{body}"


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _is_ours(text: str) -> bool:
    """Whether a file is as `models_config`, of this or another version of tc3net, wrote it."""
    first, _, body = text.partition("\n")
    return first == _MARKER + _checksum(body)


def _write_models_config(path: Path, names: list[str], model_name: str) -> str:
    text = models_config(names)
    found = path.read_text(encoding="utf-8") if path.exists() else None
    if found == text:
        return f"{path}: up to date"
    if found is not None and not _is_ours(found):
        listed = re.search(rf"name:\s*[\"']{re.escape(model_name)}[\"']", found)
        hint = "" if listed else f"; it does not list {model_name!r}: add it, or delete the file and export again"
        return f"{path}: kept as you changed it{hint}"
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return f"{path}: written ({', '.join(names)})"


def write_deployment(export_dir: str | Path, model_name: str) -> list[str]:
    """Writes what is missing of `models.config`, `batching_params.pbtxt` and `docker-compose.yml`, each atomically.

    `models.config` lists every model of the folder and is written again when one is added, unless somebody changed it.
    The others are never written over an existing file.

    Args:
        export_dir: folder of exported models.
        model_name: the model just exported; the health check asks for the first one.

    Returns:
        One line per file: what became of it.
    """
    folder = path_of(export_dir)
    lines = [_write_models_config(folder / MODELS_FILE, exported_models(folder), model_name)]
    compose = _COMPOSE.format(
        image=SERVING_IMAGE,
        port=REST_PORT,
        models=MODELS_FILE,
        batching=BATCHING_FILE,
        check=json.dumps(health_command(model_name)),
    )
    for name, text in ((BATCHING_FILE, _BATCHING), (COMPOSE_FILE, compose)):
        path = folder / name
        if path.exists():
            lines.append(f"{path}: kept")
        else:
            with atomic_path(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
            lines.append(f"{path}: written")
    return lines
