"""The notebook runs from its first cell to its last, and is kept without outputs."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from tests.support.notebook import cells_of, run_notebook

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
FIRST = ROOT / "docs" / "notebooks" / "first_run.ipynb"
SMALL = {"ITERATIONS": 1, "BATCH_SIZE": 2, "VIDEOS": (4, 2), "PICTURES": 1}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_has_no_outputs_and_its_cells_are_python(path: Path) -> None:
    for cell in cells_of(path):
        if cell["cell_type"] == "code":
            ast.parse("".join(cell["source"]))
            assert cell["outputs"] == [] and cell["execution_count"] is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_of_a_notebook_lead_to_files(path: Path) -> None:
    text = "".join("".join(cell["source"]) for cell in cells_of(path) if cell["cell_type"] == "markdown")
    for link in text.split("](")[1:]:
        target = link.partition(")")[0].partition("#")[0]
        assert (path.parent / target).exists(), target
    assert f"docs/notebooks/{path.name}" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"notebooks/{path.stem}.md" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")


def test_the_first_run_goes_from_features_to_pictures_and_detections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = run_notebook(FIRST, SMALL)
    (picture,) = (tmp_path / "first_run").glob("*.png")
    assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size > 10_000
    found = json.loads((tmp_path / "first_run" / "detections.json").read_text(encoding="utf-8"))["results"]
    assert len(found) == SMALL["VIDEOS"][1] and sum(map(len, found.values())) == len(names["detections"]) > 0
    assert all(detection["segment"][1] > detection["segment"][0] for v in found.values() for detection in v)
    assert len(names["result"].map) == len(names["result"].tious)


def test_own_features_take_the_place_of_simulated_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cells up to the conversion; what follows does not know where the features are from."""
    from data_prep.synthetic import SyntheticOptions, simulate

    monkeypatch.chdir(tmp_path)
    simulate(SyntheticOptions(tmp_path / "mine", num_train=2, num_test=1, num_classes=2))
    (tmp_path / "labels.csv").write_text(
        "video,class,count,subset\n"
        "video_validation_0000001,Shot,3,validation\n"
        "video_validation_0000002,Corner,1,validation\n"
        "video_test_0000001,Shot,,test\n"
    )
    cells = [cell for cell in cells_of(FIRST) if cell["cell_type"] == "code"]
    last = next(i for i, cell in enumerate(cells) if "manifest = convert(" in "".join(cell["source"]))
    (tmp_path / "part.ipynb").write_text(json.dumps({"cells": cells[: last + 1]}))
    own = {"FEATURES": str(tmp_path / "mine" / "features"), "ANNOTATIONS": str(tmp_path / "labels.csv")}
    names = run_notebook(tmp_path / "part.ipynb", own)
    assert set(names["classes"]) == {"Shot", "Corner"} and not (tmp_path / "first_run" / "raw").exists()
    assert names["training"].num_videos == 2 and names["test"].num_videos == 1
