"""What TensorFlow says on standard error while it starts, kept from the screen where it tells a user nothing.

Its C++ libraries write there, past Python, some of it before they read TF_CPP_MIN_LOG_LEVEL, and as errors. While it
starts, a small process reads that file descriptor and passes on every line but the known ones, at once: what is said of
a real error, or before a crash, still arrives. Afterwards only that level acts: warnings and errors are shown.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence

LEVEL = "TF_CPP_MIN_LOG_LEVEL"
# Said by every start on a machine without a GPU, without TensorRT, or with the CUDA libraries twice.
NOISE = (
    r"^WARNING: All log messages before absl::InitializeLog\(\) is called are written to STDERR"
    r"|cudart_stub\.cc|cpu_feature_guard\.cc|^To enable the following instructions: "
    r"|failed call to cuInit: .*(UNKNOWN ERROR \(303\)|no CUDA-capable device|CUDA_ERROR_NO_DEVICE)"
    r"|Unable to register cu\w+ factory: Attempting to register factory"
    r"|computation placer already registered|TF-TRT Warning: Could not find TensorRT|oneDNN custom operations are on"
)
_PASS_ON = """
import os, re, sys
noise, rest = re.compile(sys.argv[1].encode()), b""
while True:
    block = os.read(0, 65536)
    *lines, rest = (rest + block).split(b"\\n")
    os.write(2, b"".join(line + b"\\n" for line in lines if not noise.search(line)))
    if not block:
        os.write(2, b"" if noise.search(rest) else rest)
        break
"""


def is_wanted(arguments: Sequence[str]) -> bool:
    """Whether a user asks to see it: by the variable, or by --verbosity of 0 or more among a command's arguments."""
    if os.environ.get(LEVEL) in ("0", "1"):
        return True
    names = ("--verbosity", "-verbosity", "--v", "-v")
    for argument, following in zip(arguments, [*arguments[1:], ""]):
        name, is_assigned, value = argument.partition("=")
        if name in names:
            return not (value if is_assigned else following).startswith(("-", "warn", "error", "fatal"))
    return False


@contextlib.contextmanager
def without_start_noise() -> Iterator[None]:
    """Inside, lines of `NOISE` do not reach standard error, whoever in this process writes them."""
    if is_wanted(sys.argv[1:]):
        yield
        return
    os.environ.setdefault(LEVEL, "2")
    with contextlib.ExitStack() as undo:
        with contextlib.suppress(OSError, ValueError):  # no standard error, or no process: nothing is held back
            sys.stderr.flush()
            reader = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _PASS_ON, NOISE],
                stdin=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is not for it
            )
            assert reader.stdin is not None
            undo.callback(_wait_for, reader)
            undo.callback(reader.stdin.close)
            kept = os.dup(2)
            undo.callback(os.close, kept)
            undo.callback(os.dup2, kept, 2)
            os.dup2(reader.stdin.fileno(), 2)
        yield


def _wait_for(reader: subprocess.Popen[bytes]) -> None:
    """Until all is passed on; not for what still holds the descriptor."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        reader.wait(timeout=5)
