"""Completion of commands, flags and their values in bash and zsh, as a script that asks nobody when Tab is pressed."""

from __future__ import annotations

import shlex

from absl import flags

from tc3net.terminal.console import COMMANDS, flags_definer
from tc3net.terminal.flagfiles import shipped_flagfiles

SHELLS = ("bash", "zsh")

_BASH = """\
# Completion of tc3net for bash: source <(tc3net completion bash)
_tc3net() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} flags="" values=""
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "{commands}" -- "$word"))
    return
  fi
  # bash divides --flag=value at the sign.
  local flag=${{COMP_WORDS[COMP_CWORD-1]}}
  if [ "$word" = "=" ]; then word=""; elif [ "$flag" = "=" ]; then flag=${{COMP_WORDS[COMP_CWORD-2]}}; else flag=""; fi
  [ -n "$flag" ] || [ "${{COMP_WORDS[COMP_CWORD]}}" != "=" ] || flag=${{COMP_WORDS[COMP_CWORD-1]}}
  case "${{COMP_WORDS[1]}}" in
{flags}
  esac
  if [ -n "$flag" ]; then
    case "${{COMP_WORDS[1]}} $flag" in
{values}
    esac
    COMPREPLY=($(compgen -f -- "$word"))
    [ -z "$values" ] || COMPREPLY=($(compgen -W "$values" -- "$word"))
    return
  fi
  case "$word" in
    -*) COMPREPLY=($(compgen -W "$flags" -- "$word")); compopt -o nospace ;;
    *) COMPREPLY=($(compgen -f -- "$word")) ;;
  esac
}}
complete -o filenames -F _tc3net tc3net
"""
_ZSH = """\
#compdef tc3net
# Completion of tc3net for zsh: source <(tc3net completion zsh), after compinit
_tc3net() {{
  if (( CURRENT == 2 )); then
    local -a commands=(
{commands}
    )
    _describe command commands
    return
  fi
  local -a flags
  case "${{words[2]}}" in
{flags}
  esac
  _arguments -s $flags '*:file:_files'
}}
compdef _tc3net tc3net
"""


def flags_of(name: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Flags of a command: name -> help and, where they are listed, values."""
    define, before = flags_definer(name), set(flags.FLAGS)
    define()
    found = {}
    for flag_name in sorted(set(flags.FLAGS) - before):
        flag = flags.FLAGS[flag_name]
        values = tuple(getattr(flag.parser, "enum_values", None) or (("true", "false") if flag.boolean else ()))
        found[flag_name] = (flag.help or "", values)
    for flag_name in found:
        delattr(flags.FLAGS, flag_name)
    found["flagfile"] = ("File with one --flag=value a line.", tuple(shipped_flagfiles()))
    found["help"] = ("What the command does, and its flags.", ())
    return found


def completion_script(shell: str) -> str:
    """The script for a shell of `SHELLS`, made from the flags that the commands define now."""
    known = {name: flags_of(name) for name in COMMANDS}
    return _bash(known) if shell == "bash" else _zsh(known)


Known = dict[str, dict[str, tuple[str, tuple[str, ...]]]]


def _is_switch(values: tuple[str, ...]) -> bool:
    return values == ("true", "false")


def _bash(known: Known) -> str:
    of_commands, of_values = [], []
    for name, found in known.items():
        written = [
            f"--{flag}" + ("" if _is_switch(values) or flag == "help" else "=") for flag, (_, values) in found.items()
        ]
        of_commands.append(f'    {name}) flags="{" ".join(written)}" ;;')
        of_values += [
            f'      "{name} --{flag}") values={shlex.quote(" ".join(values))} ;;'
            for flag, (_, values) in found.items()
            if values
        ]
    commands = " ".join([*known, "completion"])
    return _BASH.format(commands=commands, flags="\n".join(of_commands), values="\n".join(of_values))


def _zsh(known: Known) -> str:
    commands = [f"      {shlex.quote(f'{name}:{COMMANDS[name].summary}')}" for name in known]
    of_commands = []
    for name, found in known.items():
        lines = [f"      {shlex.quote(_zsh_flag(flag, *told))}" for flag, told in found.items()]
        of_commands.append("\n".join([f"    {name}) flags=(", *lines, "    ) ;;"]))
    return _ZSH.format(commands="\n".join(commands), flags="\n".join(of_commands))


def _zsh_flag(flag: str, text: str, values: tuple[str, ...]) -> str:
    said = text.partition(". ")[0].translate(str.maketrans("[]:'", "();`"))
    if _is_switch(values) or flag == "help":
        return f"--{flag}[{said}]"
    return f"--{flag}=[{said}]:{flag}:" + (f"({' '.join(values)})" if values else "_files")
