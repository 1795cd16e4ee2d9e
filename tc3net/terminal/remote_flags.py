"""Which flags of which command may name remote storage; all others are refused, before anything is made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from tc3net.common.errors import UsageError
from tc3net.common.storage import is_remote

POSITIONAL = "PATH"
_INPUTS = ("annotations", "features", "flow_features", "time_base_file", "class_list")
# Module of the command -> its flags that may begin with gs://, s3://, ...; docs/remote-storage.md has the same table.
REMOTE: Mapping[str, tuple[str, ...]] = {
    "data_prep.convert": (*_INPUTS, "output_dir"),
    "data_prep.inspect": (POSITIONAL, *_INPUTS, "dataset_dir", "output_dir"),
    "tc3net.train": ("dataset_dir", "run_dir"),
    "tc3net.evaluate": ("run_dir", "dataset_dir", "output_dir", "scores", "detections", "annotations"),
    "tc3net.predict": ("run_dir", "dataset_dir", "dataset", "output_dir", "rgb", "flow", "features", "annotations"),
    "tc3net.export": ("run_dir", "export_dir"),
    "tc3net.report.__main__": (POSITIONAL, "output"),
}
_NO_PATHS = ("address", "name", "engine_option", "beam_option")  # that may hold :// nonetheless
_STORAGES = ("gs://", "s3://", "ram://", "hdfs://", "viewfs://", "har://")
_COPY = "Copy it to a disk first (gsutil cp, aws s3 cp), and results back. docs/remote-storage.md: which flags may."


def refuse_remote(module: str, positional: Sequence[str], values: flags.FlagValues) -> None:
    """Refuses remote paths where a command would take them for folders of the disk.

    Args:
        module: of the command.
        positional: its positional arguments.
        values: parsed.

    Raises:
        UsageError: names the flag.
    """
    allowed = REMOTE.get(module, ())
    follows = _value(values, "follow")
    given = [(POSITIONAL, word) for word in positional]
    given += [(name, word) for name in values for word in _words(values[name].value) if name not in _NO_PATHS]
    remote = [(name, word) for name, word in given if is_remote(word) and not (name == "video" and _is_stream(word))]
    for name, word in remote:
        flag = name if name == POSITIONAL else f"--{name}"
        if name not in allowed:
            raise UsageError(f"{flag}={word}: a remote path found; expected one on a disk of this machine. {_COPY}")
        if follows:
            raise UsageError(
                f"{flag}={word} with --follow found; expected a path on a disk: objects do not grow. {_COPY}"
            )
        if _value(values, "video"):
            raise UsageError(f"{flag}={word} with --video found; expected paths on a disk beside videos. {_COPY}")
        if _value(values, "engine") not in (None, "local"):
            raise UsageError(f"{flag}={word} with --engine={values.engine} found; expected --engine=local. {_COPY}")
        if word.startswith("ram:") and "num_workers" in values and values["num_workers"].present:
            raise UsageError(
                f"{flag}={word} with --num_workers={values.num_workers} found; expected 1, since ram:// is the memory "
                "of one process. Leave the flag out."
            )


def _is_stream(word: str) -> bool:
    """Whether an address of a video is one that is watched (rtsp://, http://, udp://), not a file's."""
    return not word.lower().startswith(_STORAGES)


def _value(values: flags.FlagValues, name: str) -> Any:
    return values[name].value if name in values else None


def _words(value: Any) -> list[str]:
    return [word for word in (value if isinstance(value, list) else [value]) if isinstance(word, str)]
