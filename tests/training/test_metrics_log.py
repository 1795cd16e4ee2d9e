"""The log of a run: appended, cut back on resume, and readable after a crash."""

from __future__ import annotations

from pathlib import Path

import pytest

from tc3net.training.metrics_log import MetricsLog, read_metrics
from tests.support.memory import memory_folder

ENTRIES = [
    {"step": 0, "selection": 0.1, "evaluation": {"reference/mAP@0.50": 0.1 + 0.2}},
    {"step": 50, "loss": 3.5},
    {"step": 100, "loss": 2.25},
    {"step": 100, "selection": 0.3, "evaluation": {}},
    {"step": 150, "loss": 1.125},
]


def write_log(run_dir: Path) -> Path:
    log = MetricsLog(run_dir, resume_step=0)
    for entry in ENTRIES:
        log.append(dict(entry))
    return run_dir / "metrics.jsonl"


def test_what_was_appended_is_read_back_exactly(tmp_path: Path) -> None:
    path = write_log(tmp_path)
    assert read_metrics(tmp_path) == ENTRIES
    assert len(path.read_text().splitlines()) == len(ENTRIES)


@pytest.mark.parametrize(("resume_step", "kept"), [(0, 1), (50, 2), (99, 2), (100, 4), (150, 5), (1000, 5)])
def test_resuming_drops_entries_after_the_checkpoint(tmp_path: Path, resume_step: int, kept: int) -> None:
    write_log(tmp_path)
    log = MetricsLog(tmp_path, resume_step)
    assert log.entries == ENTRIES[:kept]
    log.append({"step": 2000})
    assert log.entries == read_metrics(tmp_path) == [*ENTRIES[:kept], {"step": 2000}]


@pytest.mark.parametrize("lost", [2, 5, 20])
def test_a_last_line_cut_off_by_a_crash_is_left_out_and_overwritten(tmp_path: Path, lost: int) -> None:
    path = write_log(tmp_path)
    path.write_bytes(path.read_bytes()[:-lost])
    assert read_metrics(tmp_path) == ENTRIES[:-1]
    MetricsLog(tmp_path, 1000).append(ENTRIES[-1])
    assert read_metrics(tmp_path) == ENTRIES


def test_a_missing_final_newline_loses_nothing(tmp_path: Path) -> None:
    path = write_log(tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    assert read_metrics(tmp_path) == ENTRIES
    MetricsLog(tmp_path, 1000).append({"step": 2000})
    assert read_metrics(tmp_path) == [*ENTRIES, {"step": 2000}]


def test_on_other_storage_than_disks_it_is_written_anew() -> None:
    with memory_folder() as top:
        log = MetricsLog(top, -1)
        for step in range(3):
            log.append({"step": step, "note": "ä"})
        assert read_metrics(top) == [{"step": step, "note": "ä"} for step in range(3)]
        assert [entry["step"] for entry in MetricsLog(top, 1).entries] == [0, 1]
        assert [entry["step"] for entry in read_metrics(top)] == [0, 1]
        assert [path.name for path in top.iterdir()] == ["metrics.jsonl"]
