"""What `tc3net.compare_methods` compares: methods by name, each a flagfile, with or without a second stage.

A method is `configs/methods/NAME.cfg`, or the path of a flagfile; its first line says what it is called. `NAME+refine`
is the same followed by the second stage of `configs/refine.cfg` (docs/refinement.md), and `NAME+refine:FILE`
by that of another flagfile.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tc3net.common.errors import UserError
from tc3net.terminal.flagfiles import shipped_folder

METHODS = shipped_folder() / "methods"
STAGE = "+refine"
SECOND_STAGE = METHODS.parent / "refine.cfg"

# mAP@0.5 and average of 0.1:0.7 on THUMOS14 in the methods' own publications, with real I3D features; None: not given.
PUBLISHED: dict[str, tuple[float | None, float | None]] = {
    "untrimmednets": (13.7, None),
    "stpn": (16.9, 27.0),
    "autoloc": (21.2, None),
    "w_talc": (22.8, None),
    "3c_net": (26.6, None),
    "ham": (32.6, 41.1),
    "um": (33.7, 41.9),
    "cola": (34.3, 41.7),
    "co2": (38.3, 44.6),
    "delu": (40.8, 46.8),
}


@dataclass(frozen=True)
class Method:
    """One row of the comparison.

    Attributes:
        name: as it is asked for, and its runs are called.
        title: in words.
        flagfile: its training and detection flags.
        first: the method whose runs are refined; None: trained by itself.
    """

    name: str
    title: str
    flagfile: Path
    first: Method | None = None

    @property
    def published(self) -> tuple[float | None, float | None]:
        """mAP@0.5 and average of 0.1:0.7 of the publication, in %."""
        return PUBLISHED.get(self.name, (None, None))


def known_methods() -> list[str]:
    """Names of the flagfiles that come along."""
    return sorted(path.stem for path in METHODS.glob("*.cfg"))


def find_method(name: str) -> Method:
    """A method by name or path.

    Args:
        name: see the module.

    Raises:
        UserError: no such method.
    """
    first, stage, second = name.partition(STAGE)
    if not stage:
        flagfile = _flagfile(name, name)
        return Method(flagfile.stem, _title(flagfile), flagfile)
    method = find_method(first)
    if second and not second.startswith(":"):
        raise UserError(f"--methods={name}: expected NAME{STAGE}, or NAME{STAGE}:FLAGFILE.")
    if not second:
        return Method(f"{method.name}{STAGE}", f"{method.title}, second stage", SECOND_STAGE, method)
    flagfile = _flagfile(second[1:], name)
    return Method(f"{method.name}{STAGE}-{flagfile.stem}", f"{method.title}, then {_title(flagfile)}", flagfile, method)


def find_methods(names: list[str]) -> dict[str, Method]:
    """Methods by name, in order; a first stage that is not asked for itself is not among them.

    Raises:
        UserError: none, no such method, or two of one name.
    """
    found = [find_method(name) for name in names]
    twice = {method.name for method in found if [other.name for other in found].count(method.name) > 1}
    if twice or not found:
        raise UserError(f"--methods={','.join(names)}: expected one or more methods, each once.")
    return {method.name: method for method in found}


def _flagfile(text: str, name: str) -> Path:
    path = Path(text) if text.endswith(".cfg") else METHODS / f"{text}.cfg"
    if not path.is_file():
        raise UserError(
            f"--methods: {name!r}: no file {path}; expected the path of a flagfile, or some of "
            f"{', '.join(known_methods())}, each also with {STAGE}."
        )
    return path


def _title(flagfile: Path) -> str:
    """The first line of a flagfile, up to its colon, without the words "on this trunk"."""
    first = flagfile.read_text(encoding="utf-8").partition("\n")[0]
    if not first.startswith("#"):
        raise UserError(
            f"{flagfile}: begins with {first[:40]!r}; expected a comment that says what the method is called."
        )
    return first.lstrip("# ").partition(":")[0].removesuffix(" on this trunk").rstrip(".")
