"""Nothing is left out unnoticed: what a skip becomes where the machine could run the test, and the last lines."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from tests.support import left_out
from tests.support.needs import ADDONS, BROWSER, NEEDS, TENSORFLOW_SERVING, Need, always, never


def skipped(reason: str) -> pytest.TestReport:
    place = ("test_x.py", 1, f"Skipped: {reason}")
    return pytest.TestReport("test_x.py::test_x", ("test_x.py", 1, "test_x"), {}, "skipped", place, "setup")


@pytest.mark.parametrize("strict", ["1", "0", ""])
def test_a_skip_fails_where_the_machine_can_run_the_test(monkeypatch: pytest.MonkeyPatch, strict: str) -> None:
    monkeypatch.setenv("TC3NET_NO_SKIPS", strict)
    can, cannot = (Need(f"{how.__name__} tests", "buy one", here=False, obtainable=how) for how in (always, never))
    monkeypatch.setattr(left_out, "BY_REASON", {need.reason: need for need in (can, cannot)})
    for reason, refused in ((can.reason, True), (cannot.reason, False), ("no time", True)):
        report = skipped(reason)
        left_out.refuse(report)
        assert report.outcome == ("failed" if refused and strict == "1" else "skipped")
        assert reason in str(report.longrepr)
    expected = skipped(can.reason)
    expected.wasxfail = "known"  # a failure that is expected is no skip
    left_out.refuse(expected)
    assert expected.outcome == "skipped"


def test_the_last_lines_say_how_many_and_how_to_get_them() -> None:
    reasons = Counter({BROWSER.reason: 7, TENSORFLOW_SERVING.reason: 1, ADDONS.reason: 38, "no time": 2})
    assert [re.sub(r" \(.*", "", line) for line in left_out.lines(reasons)] == [
        "38 tests of tensorflow-addons: they need Keras 2: make test-addons runs them",
        "7 browser tests: install a Chromium and its driver",
        "2 tests: no time",
        "1 test against TensorFlow Serving itself: put its tensorflow_model_server on the PATH",
    ]


def test_every_reason_is_told_apart() -> None:
    assert len({need.reason for need in NEEDS}) == len(NEEDS)
