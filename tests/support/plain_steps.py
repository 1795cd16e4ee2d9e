"""Steps that need nothing of ours: a worker that runs them need not import TensorFlow, which takes seconds."""

from __future__ import annotations

import os


def echo(numbered: tuple[int, str]) -> str:
    """An outcome line of a task that does nothing."""
    return f'{{"task": {numbered[0]}, "result": "{numbered[1]}"}}'


def die(numbered: tuple[int, str]) -> str:
    """Ends the process that runs it, as running out of memory would."""
    os._exit(9)
