"""The table of protocols: what each entry says, what is refused, and what other thresholds do to it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tc3net.common.errors import UserError
from tc3net.evaluation import (
    ACTIVITYNET_EDGES,
    DEFAULT_PROTOCOL,
    PROTOCOLS,
    THUMOS14_EDGES,
    Decisions,
    add_protocol,
    find_protocol,
    match_localization,
    recorded_protocol,
    recorded_signature,
)
from tests.support.rows_by_hand import found, ground_truth

THUMOS14 = PROTOCOLS["thumos14"]


def test_what_each_protocol_says() -> None:
    """Selection as in the public code: mAP@0.5, for ActivityNet the average; edges as in DETAD."""
    facts = {
        name: (p.selecting, p.main_average, p.interpolated, p.annotated_videos_only, p.needs_grid)
        for name, p in PROTOCOLS.items()
    }
    assert facts == {
        "reference": (0.5, "0.1:0.7", True, True, True),
        "thumos14": (0.5, "0.1:0.7", True, False, False),
        "thumos14_kit": (0.5, "0.1:0.7", False, False, False),
        "activitynet": ("0.5:0.95", "0.5:0.95", True, False, False),
    }
    assert all(name == protocol.name and protocol.main_tiou == 0.5 for name, protocol in PROTOCOLS.items())
    assert [PROTOCOLS[name].edges for name in facts] == [THUMOS14_EDGES] * 3 + [ACTIVITYNET_EDGES]
    assert DEFAULT_PROTOCOL == "thumos14" and PROTOCOLS["thumos14"].version == 2


def test_finding() -> None:
    assert find_protocol("thumos14") is find_protocol(THUMOS14) is THUMOS14
    with pytest.raises(UserError, match=r"'mine' is unknown; expected one of reference, .* with --extensions"):
        find_protocol("mine")


def test_what_a_file_means_by_a_name() -> None:
    """thumos14 was the kit of 2015 when files had no versions."""
    assert recorded_protocol("thumos14") is PROTOCOLS["thumos14_kit"]
    assert recorded_protocol("thumos14", 2) is THUMOS14
    assert recorded_protocol("reference") is PROTOCOLS["reference"]
    for name, version in (("thumos14", 3), ("reference", 2)):
        with pytest.raises(UserError, match=rf"{name} of version {version} is asked for; expected version"):
            recorded_protocol(name, version)
    for protocol in PROTOCOLS.values():
        assert recorded_protocol(protocol.name, protocol.version) is protocol
        assert recorded_signature(protocol.signature) == protocol.signature
    assert (recorded_signature("thumos14"), THUMOS14.signature) == ("thumos14_kit", "thumos14 (version 2)")


def test_no_two_protocols_of_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tc3net.evaluation.protocols.PROTOCOLS", dict(PROTOCOLS))
    with pytest.raises(UserError, match="There is a protocol 'thumos14' already"):
        add_protocol(replace(THUMOS14, main_tiou=0.3))
    add_protocol(replace(THUMOS14, name="other"))
    with pytest.raises(UserError, match="There is a protocol 'other' already"):
        add_protocol(replace(THUMOS14, name="other"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tious": ()}, "thresholds are []"),
        ({"tious": (0.5, 1.5)}, "all in (0, 1]"),
        ({"name": "my protocol"}, "expected letters"),
        ({"version": 0}, "version 0; expected 1 or more"),
        ({"name": "classification"}, "none of classification"),
        ({"main_tiou": 0.45}, "main_tiou needs the thresholds [0.45]"),
        ({"brief_tious": (0.5, 0.9)}, "brief_tious needs the thresholds [0.5, 0.9]"),
        ({"averages": {"0.5:0.9": (0.5, 0.9)}}, "0.5:0.9 needs the thresholds"),
        ({"averages": {"none": ()}}, "none needs the thresholds []"),
        ({"averages": {}, "average_selects": True}, "average_selects without averages"),
        ({"edges": {"length": (1, 2, 3)}}, "edges of coverage, instances"),
        ({"edges": {**THUMOS14_EDGES, "length": (3, 2, 1)}}, "edges of length; expected 3 or 4 rising numbers"),
        ({"edges": {**THUMOS14_EDGES, "length": (1, 2)}}, "edges of length"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(change: dict, message: str) -> None:
    with pytest.raises(UserError) as refused:
        replace(THUMOS14, **change)
    assert message in str(refused.value)


def test_thresholds_are_those_of_the_toolkits_to_the_last_bit() -> None:
    assert PROTOCOLS["activitynet"].tious == tuple(np.linspace(0.5, 0.95, 10).tolist())
    assert THUMOS14.tious == tuple(np.round(np.arange(1, 8) * 0.1, 1).tolist())


def test_other_thresholds_keep_what_they_can() -> None:
    few = THUMOS14.at([0.7, 0.3, 0.4, 0.6, 0.5])
    assert (few.tious, few.main_tiou, few.main_row(few.tious)) == ((0.7, 0.3, 0.4, 0.6, 0.5), 0.5, 4)
    assert few.averages == {"0.3:0.7": (0.3, 0.4, 0.5, 0.6, 0.7)} and few.brief_tious == (0.3, 0.5, 0.7)
    assert few.average_rows(few.tious)["0.3:0.7"].tolist() == [1, 2, 4, 3, 0]
    one = PROTOCOLS["activitynet"].at([0.9])
    assert (one.main_tiou, one.averages, one.main_average, one.selecting) == (0.9, {}, None, 0.9)
    assert THUMOS14.at(THUMOS14.tious) == THUMOS14
    assert PROTOCOLS["activitynet"].main_row([0.1, 0.4, 0.9]) == 1


def test_a_rule_that_returns_another_shape_is_refused() -> None:
    def one_row(truth, rows, tious, grid) -> Decisions:
        whole = THUMOS14.match(truth, rows, tious, grid)
        return replace(whole, found=whole.found[:1])

    wrong = replace(THUMOS14, name="wrong", match=one_row)
    with pytest.raises(ValueError, match=r"\(1, 1\) thresholds and detections; expected \(7, 1\)"):
        match_localization(wrong, ground_truth([("a", 0, 0, 10)]), found([("a", 0, 0, 9, 1.0)]))


def test_the_thresholds_of_a_call_are_those_of_the_protocol_at_them() -> None:
    truth, rows = ground_truth([("a", 0, 0, 10)]), found([("a", 0, 0, 9, 1.0), ("a", 0, 0, 4, 0.5)])
    called = match_localization("activitynet", truth, rows, tious=[0.3, 0.9])
    given = match_localization(PROTOCOLS["activitynet"].at([0.3, 0.9]), truth, rows)
    assert called.tious == given.tious == (0.3, 0.9)
    np.testing.assert_array_equal(called.found, given.found)


def test_the_page_describes_every_protocol() -> None:
    page = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    head, *rows = page[page.index("| | `thumos14`") :].split("\n\n")[0].splitlines()
    names = [name.strip(" `") for name in head.split("|")[2:-1]]
    assert set(names) == set(PROTOCOLS)
    said = {cells[1].split(":")[0].split(" (")[0].strip(): cells[2:-1] for cells in (row.split("|") for row in rows)}
    for name, main, averages, selects in zip(
        names, said["main tIoU"], said["averages"], said["chooses the best checkpoint"]
    ):
        protocol = PROTOCOLS[name]
        assert float(main) == protocol.main_tiou
        assert averages.strip() == ", ".join(protocol.averages)
        assert selects.strip().endswith(str(protocol.selecting))
