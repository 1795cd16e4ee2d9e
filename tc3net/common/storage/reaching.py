"""TensorFlow's file systems by scheme, and what they raise in the words of a disk, or of a user's error."""

from __future__ import annotations

import contextlib
import errno
import functools
import importlib
import os
import sys
from collections.abc import Iterator
from typing import Any

from tc3net.common.errors import UserError, plain_message

_PLUG_IN = "tensorflow_io"  # registers s3, az and others when it is imported


def plug_in_loaded() -> bool:
    """Whether this process has loaded file systems that do not belong to TensorFlow itself."""
    return _PLUG_IN in sys.modules


class RemoteError(OSError, UserError):
    """The storage does not answer as expected; what the user can do about it is said."""

    def __init__(self, message: str, url: str = "") -> None:
        super().__init__(errno.EIO, message, url)
        self.message = message

    def __str__(self) -> str:
        return self.message


@functools.cache
def _files(scheme: str) -> Any:
    """`tf.io.gfile`, once it is known to reach the scheme."""
    import tensorflow as tf

    def known() -> set[str]:
        return {os.fsdecode(name) for name in tf.io.gfile.get_registered_schemes()}

    if scheme not in known():
        with contextlib.suppress(Exception):  # whatever a plug-in for another TensorFlow raises
            importlib.import_module(_PLUG_IN)
    if scheme not in known():
        there = ", ".join(f"{name}://" for name in sorted(known() - {"", "file"}))
        raise UserError(
            f"no file system for {scheme}:// is installed; expected one of those that TensorFlow reaches "
            f"here ({there}). Install the plug-in (s3:// and az://: `pip install tensorflow-io`, the version "
            "made for this TensorFlow), or copy the files to a disk."
        )
    return tf.io.gfile


@contextlib.contextmanager
def reaching(path: Any) -> Iterator[Any]:
    """`tf.io.gfile`; what TensorFlow raises inside becomes what a disk raises, or a user's error of that path."""
    try:
        files = _files(path.scheme)
    except UserError as error:
        raise RemoteError(f"{path}: {error}", str(path)) from None
    from tensorflow import errors

    try:
        yield files
    except errors.NotFoundError:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from None
    except errors.AlreadyExistsError:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
    except (errors.PermissionDeniedError, errors.UnauthenticatedError) as error:
        raise RemoteError(
            f"{path}: access refused ({plain_message(error)}); expected credentials that may read there, and write "
            "where results go. Sign in (gs://: gcloud auth application-default login), or give another path.",
            str(path),
        ) from None
    except errors.OpError as error:
        raise RemoteError(
            f"{path}: the storage answers {plain_message(error)!r}; expected it to be there and in reach. Check the "
            "path, the connection and the credentials, and run it again. What was complete before is unchanged.",
            str(path),
        ) from None
