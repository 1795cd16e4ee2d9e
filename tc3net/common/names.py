"""Names in messages: how many of what, and names that are the same but for their spelling."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

from tc3net.common.errors import UserError

_PAIRS_SHOWN = 20


def counted(number: int, noun: str) -> str:
    """The number with its noun: "1 video", "3 classes"."""
    return f"{number} {noun if number == 1 else _plural(noun)}"


def _plural(noun: str) -> str:
    return noun + ("es" if noun.endswith("s") else "s")


def some_names(names: Collection[str]) -> str:
    """The first three: "a, b, c, ..."."""
    return ", ".join(list(names)[:3]) + (", ..." if len(names) > 3 else "")


def nearest(name: str, known: Iterable[str], before: str = "") -> str:
    """ " Did you mean ...?" where a known name is near, to be put after a sentence; else nothing."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean {before}{found[0]}?" if found else ""


def spelled_alike(names: Iterable[str]) -> list[list[str]]:
    """Groups of different names that differ only in case or blanks, in the order of their first names."""
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        groups.setdefault("".join(name.split()).casefold(), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def require_different(names: Iterable[str], what: str, where: object) -> None:
    """Refuses names that differ only in case or blanks: they are one name, misspelt.

    Args:
        names: e.g. of the classes.
        what: they are ("class").
        where: the file, for the message.

    Raises:
        UserError: there are such names; lists all of them.
    """
    groups = [" and ".join(map(repr, group)) for group in spelled_alike(names)]
    if groups:
        more = f"; and {len(groups) - _PAIRS_SHOWN} more" if len(groups) > _PAIRS_SHOWN else ""
        raise UserError(
            f"{where}: names of {_plural(what)} found that differ only in case or blanks: "
            f"{'; '.join(groups[:_PAIRS_SHOWN])}{more}; expected one spelling of each. Correct the file."
        )
