"""A command line becomes flags: help, flagfiles by name, and for a misspelt flag or value the nearest that there is."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

from absl import flags

from tc3net.common.errors import UsageError
from tc3net.common.names import nearest
from tc3net.terminal.help import help_text, own_flags

_HELP = {"--help": False, "-help": False, "-h": False, "--helpshort": False, "--helpfull": True, "-helpfull": True}


def parse(arguments: Sequence[str], module: str, doc: str) -> list[str]:
    """Parses a command's flags; returns what is left, the program's name first.

    Args:
        arguments: the program's name, then its arguments, flagfiles expanded.
        module: of the command, for its help.
        doc: its docstring.

    Raises:
        UsageError: an unknown flag, or a value that it does not take.
        SystemExit: help was asked for, and is printed: status 0.
    """
    asked = [word for word in _before_the_end(arguments[1:]) if word in _HELP and word.strip("-") != "h"]
    if asked or "-h" in _before_the_end(arguments[1:]):
        print(help_text(module, doc, full=bool(asked) and _HELP[asked[0]]))
        sys.stdout.flush()
        raise SystemExit(0)
    try:
        return flags.FLAGS(list(arguments))
    except flags.UnrecognizedFlagError as error:
        name = error.flagname
        raise UsageError(
            f"--{name} is no flag of this command.{nearest(name, own_flags(), '--')} --help shows which there are."
        ) from None
    except flags.Error as error:
        raise UsageError(_wrong_value(str(error))) from None


def _before_the_end(arguments: Sequence[str]) -> list[str]:
    """Everything before `--`."""
    words = list(arguments)
    return words[: words.index("--")] if "--" in words else words


def _wrong_value(message: str) -> str:
    """absl's words for a value that a flag does not take, in ours."""
    found = re.match(r"flag --(\w+)=(.*?): (.*)", message, flags=re.DOTALL)
    if found is None:
        return message
    name, value, why = found[1], found[2], " ".join(found[3].split())
    allowed = re.match(r"value should be one of <(.*)>", why)
    if allowed:
        values = allowed[1].split("|")
        return f"--{name}={value}; expected one of {', '.join(values)}.{nearest(value, values)}"
    return f"--{name}={value}: {why}; expected another kind of value. --helpfull explains the flag."
