"""Dataclass fields that are command-line flags: each choice is declared once, with default, help and allowed values.

Every stage declares its own frozen dataclass beside its code; mains turn them into absl flags. Nothing but a main
reads a flag, and a config is never changed after it was made.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, TypeVar

from absl import flags

T = TypeVar("T")


_declared_in: dict[str, str] = {}  # flag -> module of the dataclass that it is a field of


def declared_in(name: str) -> str:
    """The module whose dataclass declares a flag; "" where a command defines the flag itself."""
    return _declared_in.get(name, "")


def option(default: Any, help: str, *, choices: Iterable[str] | None = None) -> Any:
    """A dataclass field that is also a flag.

    Args:
        default: default value; its type (bool, int, float, str) is the flag's type.
        help: one sentence, with the unit where there is one.
        choices: allowed values of a string flag.
    """
    metadata = {"help": help, "choices": tuple(choices) if choices else None}
    return dataclasses.field(default=default, metadata=metadata)


def define_flags(config_class: type, flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines one flag per field of a dataclass made of `option`s; the flag has the field's name."""
    for field in dataclasses.fields(config_class):
        name, default, help_text = field.name, field.default, field.metadata["help"]
        _declared_in[name] = config_class.__module__
        if field.metadata["choices"]:
            flags.DEFINE_enum(name, default, field.metadata["choices"], help_text, flag_values=flag_values)
        elif isinstance(default, bool):
            flags.DEFINE_bool(name, default, help_text, flag_values=flag_values)
        elif isinstance(default, int):
            flags.DEFINE_integer(name, default, help_text, flag_values=flag_values)
        elif isinstance(default, float):
            flags.DEFINE_float(name, default, help_text, flag_values=flag_values)
        else:
            flags.DEFINE_string(name, default, help_text, flag_values=flag_values)


def from_flags(config_class: type[T], flag_values: flags.FlagValues = flags.FLAGS, base: T | None = None) -> T:
    """Builds the dataclass from parsed flags.

    Args:
        config_class: the dataclass given to `define_flags`.
        flag_values: parsed flags.
        base: where given, its value stands for every flag that was not written on the command line (or flagfile).

    Raises:
        UserError: from the dataclass's own validation.
    """
    values = {}
    for field in dataclasses.fields(config_class):  # type: ignore[arg-type]
        flag = flag_values[field.name]
        values[field.name] = flag.value if base is None or flag.present else getattr(base, field.name)
    return config_class(**values)
