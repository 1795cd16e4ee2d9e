"""All commands under one name: `tc3net COMMAND ...`, or `python -m tc3net COMMAND ...`.

    tc3net inspect annotations.csv --features=features/
    tc3net train --flagfile=thumos14.cfg --dataset_dir=dataset/ --run_dir=runs/first
    tc3net train --help
    source <(tc3net completion bash)

`tc3net COMMAND` is the same as `python -m MODULE` of the command's module.
"""

from __future__ import annotations

import importlib.metadata
import platform
import runpy
import sys

from tc3net import __version__
from tc3net.common.names import nearest
from tc3net.terminal.completion import SHELLS, completion_script
from tc3net.terminal.console import COMMANDS
from tc3net.terminal.deferred import defer_imports
from tc3net.terminal.interrupt import leave_at_once_while_importing

_COMPLETION = "completion"


def overview() -> str:
    """What `tc3net --help` prints."""
    lines = [f"  {name:<18}{command.summary}" for name, command in COMMANDS.items()]
    lines.append(f"  {_COMPLETION:<18}completion of commands and flags for a shell: {' or '.join(SHELLS)}")
    return "\n".join(
        [(__doc__ or "").strip(), "", "Commands:", *lines, "", "Each has --help, and --helpfull for all flags."]
    )


def version() -> str:
    """Versions of tc3net and of what its results depend on."""
    found = [f"tc3net {__version__}", f"Python {platform.python_version()}"]
    for name in ("tensorflow", "keras", "numpy"):
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{name} not found")
    return ", ".join(found)


def _refused(message: str) -> int:
    print(f"\nerror: {message}", file=sys.stderr)
    return 2


def run(arguments: list[str]) -> int:
    """Runs a command; the exit status, where the command itself does not end the process.

    Args:
        arguments: the command's name, then its own arguments.
    """
    name, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if name in ("--help", "-h", "--helpfull", "help"):
        print(overview())
        return 0
    if name == "--version":
        print(version())
        return 0
    if name == _COMPLETION:
        if len(rest) != 1 or rest[0] not in SHELLS:
            return _refused(f"tc3net {_COMPLETION} {' '.join(rest)}: expected one of {', '.join(SHELLS)}.")
        print(completion_script(rest[0]), end="")
        return 0
    if name not in COMMANDS:
        tip = nearest(name, [*COMMANDS, _COMPLETION])
        return _refused(f"tc3net has no command {name!r}.{tip} `tc3net --help` lists them.")
    sys.argv[1:] = rest
    runpy.run_module(COMMANDS[name].module, run_name="__main__", alter_sys=True)
    return 0


def main() -> None:
    """The console script."""
    defer_imports()
    leave_at_once_while_importing(is_ours=True)
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
