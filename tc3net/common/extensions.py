"""A user's own modules, named by `--extensions`: they add loss terms, heads, protocols and formats to the tables.

A command loads them before it defines its other flags, so that what they add has flags, and is listed, like what is
built in. docs/extending.md says what each table takes. Nothing but this flag makes a command import foreign code: a run
that was trained with extensions names them, and asks for the flag again.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from absl import flags

from tc3net.common.errors import UserError

FLAG = "extensions"
_loaded: list[str] = []


def define_extensions_flag(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines `--extensions`; every command has it."""
    flags.DEFINE_list(
        FLAG,
        None,
        "Modules to import first, such as my_package.my_terms: they add loss terms, heads, protocols or formats "
        "(docs/extending.md).",
        flag_values=flag_values,
    )
    flag_values.register_key_flag_for_module(sys.argv[0], flag_values[FLAG])  # so that --help of any command shows it


def requested(arguments: Sequence[str], flag_values: flags.FlagValues = flags.FLAGS) -> list[str]:
    """The modules that a command line names, flagfiles included; read before the other flags are known.

    Args:
        arguments: of the command, without its name.
        flag_values: expand `--flagfile`.
    """
    names: list[str] = []
    try:
        written = iter(flag_values.read_flags_from_files(list(arguments), force_gnu=False))
    except flags.Error:
        return []  # a flagfile that cannot be read: parsing says so in its own words
    for argument in written:
        if argument == "--":
            break
        flag, is_assigned, value = argument.partition("=")
        if flag in (f"--{FLAG}", f"-{FLAG}"):
            names = [name.strip() for name in (value if is_assigned else next(written, "")).split(",")]
    return [name for name in names if name]


def load_extensions(names: Sequence[str]) -> None:
    """Imports modules, each once.

    Raises:
        UserError: a module cannot be found, or an import inside it fails.
    """
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise UserError(
                f"--{FLAG}={name}: the module cannot be imported ({error}). Start the command where its package lies, "
                "or put that folder into PYTHONPATH."
            ) from None
        if name not in _loaded:
            _loaded.append(name)


def loaded_extensions() -> tuple[str, ...]:
    """The modules loaded so far, in their order."""
    return tuple(_loaded)


def check_extensions(needed: Sequence[str], what: str) -> None:
    """Raises UserError unless all of these modules are loaded.

    Args:
        needed: modules that something was made with.
        what: that something, for the message.
    """
    missing = [name for name in needed if name not in _loaded]
    if missing:
        raise UserError(
            f"{what} was made with --{FLAG}={','.join(needed)}; not loaded here: {', '.join(missing)}. "
            "Give the same flag (it imports these modules: do so only if you trust them)."
        )
