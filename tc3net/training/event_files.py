"""TensorBoard's event files on disk: removing what a resumed run writes again. No summary is made here."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection
from pathlib import Path

import tensorflow as tf

from tc3net.common.files import atomic_path
from tc3net.common.storage import is_remote, path_of


def trim_events(log_dir: str | Path, last_step: int, dropped: Collection[str] = ()) -> None:
    """Removes from all event files under a folder what belongs to later steps, and a last record cut off by a crash.

    Args:
        log_dir: folder of event files, also in folders below it; need not exist.
        last_step: newest step that stays.
        dropped: beginnings of tags that are removed whatever their step.
    """
    root = path_of(log_dir)
    for path in sorted(root.rglob("*.tfevents.*")):
        if is_remote(path):
            with atomic_path(path) as kept:
                _copy(path, kept, last_step, tuple(dropped))
            continue
        # Written beside the folder: a TensorBoard that watches it would read a file that is not finished.
        with tempfile.TemporaryDirectory(prefix=".events-", dir=root.parent) as temporary:
            kept = Path(temporary) / path.name
            _copy(path, kept, last_step, tuple(dropped))
            os.replace(kept, path)


def _copy(source: Path, target: Path, last_step: int, dropped: tuple[str, ...]) -> None:
    with tf.io.TFRecordWriter(str(target)) as writer:
        try:
            for record in tf.data.TFRecordDataset(str(source)):
                event = tf.compat.v1.Event.FromString(record.numpy())
                values = [value for value in event.summary.value if not value.tag.startswith(dropped or ("\0",))]
                if not event.summary.value:  # the version, with which every file begins
                    writer.write(record.numpy())
                elif values and event.step <= last_step:
                    del event.summary.value[:]
                    event.summary.value.extend(values)
                    writer.write(event.SerializeToString())
        except tf.errors.DataLossError:
            pass  # the record that was being written when the process ended; nothing follows it
