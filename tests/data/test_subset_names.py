"""Names of subsets: the very name first, then case, then the usual synonyms; never a guess between two."""

from __future__ import annotations

import pytest

from tc3net.data.subset_names import find_subset, is_test_subset


@pytest.mark.parametrize(
    ("asked", "there", "found"),
    [
        ("test", ["training", "test"], "test"),
        ("test", ["Test", "test"], "test"),
        ("test", ["Validation", "Test"], "Test"),
        ("val", ["Validation", "Test"], "Validation"),
        ("validation", ["train", "VAL"], "VAL"),
        ("valid", ["validation"], "validation"),
        ("training", ["Train ", "Test"], "Train "),
        ("testing", ["Test"], "Test"),
        ("test", ["testing", "TEST"], "TEST"),  # case before synonyms
        ("val", ["Validation", "validation"], None),  # either could be meant
        ("test", ["training", "validation"], None),
        ("fold1", ["Fold1"], "Fold1"),
        ("fold1", ["fold2"], None),
        ("", ["test"], None),
    ],
)
def test_find_subset(asked, there, found):
    assert find_subset(asked, there) == found


def test_test_subsets():
    assert [is_test_subset(name) for name in ("test", "Testing", "validation", "training", "fold1")] == [
        True, True, False, False, False,
    ]  # fmt: skip
