"""Names of subsets as people write them: `val`, `Validation` and `validation` are one."""

from __future__ import annotations

from collections.abc import Iterable

# Names that mean the same subset, in lower case.
_SAME_SUBSET = (("training", "train"), ("validation", "val", "valid"), ("test", "testing"))


def find_subset(asked: str, there: Iterable[str]) -> str | None:
    """The subset that is meant: the very name, else one that differs in case or blanks, else a usual synonym.

    Args:
        asked: e.g. `val`.
        there: names of the subsets, e.g. `Validation`, `Test`.

    Returns:
        One of `there`; None where none, or more than one, can be meant.
    """
    names = list(dict.fromkeys(there))
    if asked in names:
        return asked
    plain = {name: name.strip().casefold() for name in names}
    wanted = asked.strip().casefold()
    same = next((group for group in _SAME_SUBSET if wanted in group), (wanted,))
    for accepted in ((wanted,), same):
        found = [name for name in names if plain[name] in accepted]
        if found:
            return found[0] if len(found) == 1 else None
    return None


def is_test_subset(name: str) -> bool:
    """Whether a subset is by its name one that nobody trains on, and whose annotations may be withheld."""
    return name.strip().casefold() in _SAME_SUBSET[2]
