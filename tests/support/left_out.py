"""What a run of the tests left out, in its last lines; and no skip where nothing may be left out.

Imported by conftest.py, whose hooks these are. Environment variables:

* TC3NET_NO_SKIPS=1 makes a skipped test fail, unless this machine cannot have what it needs (`needs`).
* TC3NET_LEFT_OUT=FILE appends the lines to a file as well.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.support.needs import NEEDS

BY_REASON = {need.reason: need for need in NEEDS}


def reason_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Why it was skipped."""
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")


def refuse(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Makes a skip a failure where nothing may be left out."""
    if os.environ.get("TC3NET_NO_SKIPS") != "1" or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = reason_of(report)
    need = BY_REASON.get(reason)
    if need is None:
        report.outcome, report.longrepr = "failed", f"skipped, and tests/support/needs.py does not know why: {reason}"
    elif need.obtainable():
        report.outcome, report.longrepr = "failed", f"left out, though this machine can run it: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    refuse(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    refuse(report)
    return report


def lines(reasons: Counter[str]) -> list[str]:
    """A line for each reason, most tests first; what has a need is named by it."""
    found = []
    for reason, count in reasons.most_common():
        text = reason if reason in BY_REASON else f"tests: {reason}"
        one = re.sub(r"^([^:]*?)(test|comparison)s\b", r"\1\2", text) if count == 1 else text
        found.append(f"{count} {one}")
    return found


@pytest.hookimpl(wrapper=True, tryfirst=True)  # so that it comes after everything else that is told
def pytest_terminal_summary(terminalreporter: Any) -> Generator[None, None, None]:
    yield
    skipped = lines(Counter(reason_of(report) for report in terminalreporter.stats.get("skipped", [])))
    if "not slow" in terminalreporter.config.option.markexpr:
        skipped.append("all slow tests: make test runs them")
    if skipped:
        terminalreporter.section("left out")
        for line in skipped:
            terminalreporter.line(line)
    if path := os.environ.get("TC3NET_LEFT_OUT"):
        with Path(path).open("a", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in skipped)
