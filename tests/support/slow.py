"""Which tests are slow: those listed in tests/slow.txt, which `make test-fast` leaves out and `make test` begins with.

A test is listed by file and function, with the seconds of all its cases together, where one of them took longer than
`LIMIT_S`: it trains, exports, traces large graphs, or starts processes or a browser. `make slow-list` writes the list
anew from a run of all tests; what was skipped in that run stays as it was. Who adds a test need not list it. Whoever
asks for the exported model is slow too, since the first of them exports it.

Files are run in the order of their seconds: one that takes minutes and is begun last would keep one process busy alone.
"""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

import pytest

LIST = Path(__file__).parents[1] / "slow.txt"
LIMIT_S = 0.3
SLOW_FIXTURES = {"exported"}
_seconds: dict[str, float] = defaultdict(float)
_skipped: set[str] = set()


def _function(nodeid: str) -> str:
    """`tests/a/test_b.py::test_c[case]` -> `tests/a/test_b.py::test_c`."""
    return nodeid.partition("[")[0]


def listed() -> dict[str, float]:
    """Seconds by function."""
    lines = LIST.read_text(encoding="utf-8").splitlines() if LIST.is_file() else []
    return {name: float(seconds) for seconds, name in map(str.split, lines)}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the listed tests as slow, and puts the files in order."""
    known, by_file = listed(), defaultdict[str, float](float)
    for name, seconds in known.items():
        by_file[name.partition("::")[0]] += seconds
    for item in items:
        if _function(item.nodeid) in known or SLOW_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: -by_file[item.nodeid.partition("::")[0]])


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Adds up what each case takes, its fixtures included."""
    _seconds[report.nodeid] += report.duration
    if report.skipped:
        _skipped.add(_function(report.nodeid))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Writes the list where that is asked for; only the process that sees all tests does."""
    if os.environ.get("TC3NET_RECORD_SLOW") and not hasattr(session.config, "workerinput"):
        slow = {_function(nodeid) for nodeid, seconds in _seconds.items() if seconds > LIMIT_S}
        total: dict[str, float] = defaultdict(float)
        for nodeid, seconds in _seconds.items():
            total[_function(nodeid)] += seconds
        kept = {name: seconds for name, seconds in listed().items() if name in _skipped and name not in slow}
        slow, total = slow | set(kept), total | kept
        LIST.write_text("".join(f"{total[name]:6.1f} {name}\n" for name in sorted(slow)), encoding="utf-8")
