"""A JSON value beside the variables of a checkpoint."""

from __future__ import annotations

import json
from typing import Any

import tensorflow as tf


class Notes(tf.train.experimental.PythonState):
    """A JSON value inside a checkpoint."""

    def __init__(self, value: Any = None) -> None:
        self.value = value

    def serialize(self) -> str:
        return json.dumps(self.value)

    def deserialize(self, string_value: str) -> None:
        self.value = json.loads(string_value)
