"""An evaluation replaces the earlier one whole: no file of that one is left beside it, none of it is lost before."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from tc3net.common.errors import UserError
from tc3net.common.files import atomic_path
from tc3net.common.storage import RemotePath
from tc3net.results.folder import default_folder, evaluation_folder
from tc3net.results.replacement import check_raw_scores, replacing
from tests.support.memory import memory_folder

FIRST = (
    "detections.json", "ground_truth.json", "metrics.json", "raw_scores.npz", "report.html", "tables/summary.csv",
    "tables/per_class_reference.md", "analysis/analysis.json", "analysis/errors_reference.png",
    "analysis/sensitivity_reference.tex", "analysis/missed_reference.svg", "analysis/profile_reference.csv",
)  # fmt: skip
MINE = ("notes.txt", "tables/thesis.tex", "analysis/summary.md", "compared/comparison.json")


def write(folder: Path, names: tuple[str, ...], text: str) -> None:
    for name in names:
        with atomic_path(folder / name) as path:
            path.write_text(text)


def contents(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_nothing_of_the_earlier_evaluation_is_left_and_other_files_stay(tmp_path: Path) -> None:
    write(tmp_path, (*FIRST, *MINE), "old")
    second = ("detections.json", "ground_truth.json", "metrics.json", "tables/summary.csv")
    with replacing(tmp_path) as folder:
        write(folder, second, "new")
        assert set(contents(tmp_path).values()) == {"old", "new"}  # nothing is taken away yet
    assert contents(tmp_path) == {
        **dict.fromkeys(second, "new"), **dict.fromkeys(MINE, "old"), "raw_scores.npz": "old"
    }  # fmt: skip


def test_a_folder_that_is_left_empty_goes(tmp_path: Path) -> None:
    write(tmp_path, FIRST, "old")
    with replacing(tmp_path) as folder:
        write(folder, ("metrics.json", "raw_scores.npz"), "new")
    assert contents(tmp_path) == {"metrics.json": "new", "raw_scores.npz": "new"}
    assert not (tmp_path / "analysis").exists()


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt(), ValueError()])
def test_after_a_failure_the_earlier_evaluation_is_as_it_was(tmp_path: Path, error: BaseException) -> None:
    write(tmp_path / "a", (*FIRST, *MINE), "old")
    before = contents(tmp_path / "a")
    for name in ("a", "b"):
        with pytest.raises(type(error)) as raised, replacing(tmp_path / name) as folder:
            write(folder, FIRST[:3], "new")
            with atomic_path(folder / "metrics.json"):
                raise error
    assert contents(tmp_path / "a") == before
    assert not (tmp_path / "b").exists()
    if isinstance(error, OSError):
        assert raised.value.filename == str(tmp_path / "a" / "metrics.json")


def test_raw_scores_of_another_evaluation_are_refused(tmp_path: Path) -> None:
    check_raw_scores(tmp_path, None)
    (tmp_path / "raw_scores.npz").touch()
    (tmp_path / "x").mkdir()
    check_raw_scores(tmp_path, tmp_path / "x" / ".." / "raw_scores.npz")
    for source in (None, tmp_path / "other.npz"):
        with pytest.raises(UserError, match="raw scores of another evaluation; expected none"):
            check_raw_scores(tmp_path, source)


def test_where_an_evaluation_lies(tmp_path: Path) -> None:
    assert default_folder("run", "test", None) == default_folder("run", "test", "") == Path("run/evaluation")
    assert default_folder("run", "validation", "validation") == Path("run/evaluation")
    assert default_folder("run", "validation", "test") == Path("run/evaluation-validation")
    with pytest.raises(UserError, match=r"no detections\.json found"):
        evaluation_folder(tmp_path)
    write(tmp_path, ("evaluation-b/detections.json",), "")
    assert evaluation_folder(tmp_path) == tmp_path / "evaluation-b"
    write(tmp_path, ("evaluation-a/detections.json",), "")
    with pytest.raises(UserError, match=r"found 2 evaluations \(evaluation-a, evaluation-b\) and none of the test"):
        evaluation_folder(tmp_path)
    write(tmp_path, ("evaluation/detections.json",), "")
    assert evaluation_folder(tmp_path) == tmp_path / "evaluation"
    assert evaluation_folder(tmp_path / "evaluation-a") == tmp_path / "evaluation-a"


def test_on_other_storage_the_metrics_go_first_and_come_last(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    with memory_folder() as top:
        assert isinstance(top, RemotePath)
        write(top / "a", (*FIRST, *MINE), "old")
        for name in ("put", "unlink"):
            known = getattr(RemotePath, name)

            def noted(self: RemotePath, *given: object, known: Any = known, name: str = name, **named: object) -> Any:
                order.append(f"{name} {self.name}")
                return known(self, *given, **named)

            monkeypatch.setattr(RemotePath, name, noted)
        second = ("detections.json", "ground_truth.json", "metrics.json", "tables/summary.csv")
        with replacing(top / "a") as folder:
            write(folder, second, "new")
            assert set(contents(top / "a").values()) == {"old"}
        assert contents(top / "a") == {
            **dict.fromkeys(second, "new"), **dict.fromkeys(MINE, "old"), "raw_scores.npz": "old"
        }  # fmt: skip
        assert (order[0], order[-1]) == ("unlink metrics.json", "put metrics.json")
        order.clear()
        with pytest.raises(KeyboardInterrupt), replacing(top / "a") as folder:
            write(folder, second, "newer")
            raise KeyboardInterrupt
        assert not order
