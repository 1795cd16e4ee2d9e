"""`--flagfile`: a file by its path, or by its name where it is one of those that tc3net is shipped with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from absl import flags

from tc3net.common.config import define_flags, from_flags
from tc3net.common.errors import UsageError, UserError
from tc3net.common.names import nearest

Config = TypeVar("Config")
FLAG = "flagfile"
_PACKAGE = Path(__file__).resolve().parents[1]


def shipped_folder() -> Path:
    """Where the shipped flagfiles lie: in the installed package, or in the checkout that it is imported from."""
    installed = _PACKAGE / "configs"
    return installed if installed.is_dir() else _PACKAGE.parent / "configs"


def shipped_flagfiles() -> dict[str, Path]:
    """The shipped flagfiles by name: "thumos14.cfg", "methods/ham.cfg"."""
    folder = shipped_folder()
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.cfg")}
    return dict(sorted(found.items()))


def find_flagfile(name: str, named_in: Path | None = None) -> Path:
    """The file that `--flagfile=name` means.

    Args:
        name: a path; or the name of a shipped file, with "configs/" before it or not.
        named_in: the flagfile that says so. A shipped one means the others beside it, wherever it is used; in one of a
            user's, paths are tried from the working directory first, and then from the folder it lies in.

    Raises:
        UsageError: there is none.
    """
    given = Path(name).expanduser()
    beside = [] if named_in is None else [folder / given for folder in list(named_in.parents)[:3]]
    is_shipped = named_in is not None and shipped_folder() in named_in.resolve().parents
    for path in (*beside, given) if is_shipped else (given, *beside):
        if path.is_file():
            return path
    shipped = shipped_flagfiles()
    plain = given.as_posix().removeprefix("configs/")
    if plain in shipped:
        return shipped[plain]
    where = "" if named_in is None else f"{named_in}: "
    raise UsageError(
        f"{where}--{FLAG}={name}: no such file; expected a file with one --flag=value a line, or one of "
        f"{', '.join(shipped)}.{nearest(given.name, shipped)}"
    )


def expanded(arguments: Sequence[str], named_in: Path | None = None, within: tuple[Path, ...] = ()) -> list[str]:
    """A command line with the lines of its flagfiles in their place; after `--` nothing is a flag.

    Args:
        arguments: of the command, without its name.
        named_in: the flagfile that they are from.
        within: the flagfiles that led there.

    Raises:
        UsageError: a flagfile is not there, cannot be read, or names itself over others.
    """
    found: list[str] = []
    left = iter(arguments)
    for argument in left:
        if argument == "--":
            return [*found, argument, *left]
        flag, is_assigned, value = argument.partition("=")
        if flag not in (f"--{FLAG}", f"-{FLAG}"):
            found.append(argument)
            continue
        value = value if is_assigned else next(left, "")
        if not value:
            raise UsageError(f"--{FLAG} is given without a file; expected --{FLAG}=FILE.")
        path = find_flagfile(value, named_in)
        if path.resolve() in within:
            raise UsageError(f"{path}: names itself, over {named_in}; expected flagfiles that end. Correct one.")
        found += expanded(list(_lines(path)), path, (*within, path.resolve()))
    return found


def config_of(kind: type[Config], path: str, flag: str) -> Config:
    """Choices of one kind, from a flagfile that holds nothing else.

    Args:
        kind: a dataclass of `option`s.
        path: as `find_flagfile` takes it.
        flag: that named the file, for messages.

    Raises:
        UserError: no such file, or other flags in it.
    """
    values = flags.FlagValues()
    define_flags(kind, values)
    try:
        values(["", *expanded([f"--{FLAG}={path}"])])
    except flags.Error as error:
        raise UserError(f"--{flag}={path}: {error}; expected flags of {kind.__name__} alone.") from None
    return from_flags(kind, values)


def _lines(path: Path) -> Iterator[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path}: cannot be read ({error}); expected a text file with one --flag=value a line."
        ) from None
    for line in text.splitlines():
        if line.strip() and not line.startswith(("#", "//")):
            yield line.strip()
