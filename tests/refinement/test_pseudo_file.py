"""The file of pseudo segments: what is written is read to the last bit, and what is damaged is refused with a cure."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tc3net.common.errors import UserError
from tc3net.refinement.choice import ACTION, OTHER, UNSURE, PseudoSegments
from tc3net.refinement.pseudo_file import load_segments, save_segments

CLASSES = ("Jump", 'Run "fast"', "Throw")
FOUND = PseudoSegments(
    video_ids=("a", "ü b", "none"),
    num_segments=np.array([20, 7, 3]),
    num_classes=3,
    video=np.array([0, 0, 1]),
    label=np.array([2, 2, 1]),
    start=np.array([0.1 + 0.2, 3, 0]),
    end=np.array([2.5, 7, 1 / 3]),
    share=np.array([1, 0.123456789012345678, 1e-300]),
    state=np.array([ACTION, UNSURE, OTHER]),
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "pseudo_segments.json"
    save_segments(path, FOUND, CLASSES, {"weights": "abc", "detection": {"nms": "soft", "level": 0.1}})
    found, source, checksum = load_segments(path, CLASSES)
    assert source == {"weights": "abc", "detection": {"nms": "soft", "level": 0.1}}
    for name, value in vars(FOUND).items():
        np.testing.assert_array_equal(getattr(found, name), value, err_msg=name)
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["videos"]["a"] == {
        "segments": 20,
        "finds": [["Throw", 0.1 + 0.2, 2.5, 1.0, "action"], ["Throw", 3.0, 7.0, 0.12345678901234568, "unsure"]],
    }
    save_segments(tmp_path / "again.json", found, CLASSES, source)
    assert load_segments(tmp_path / "again.json", CLASSES)[2] == checksum
    save_segments(tmp_path / "again.json", found, CLASSES, {**source, "weights": "abd"})
    assert load_segments(tmp_path / "again.json", CLASSES)[2] != checksum


def test_what_is_damaged_or_foreign_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pseudo_segments.json"
    with pytest.raises(UserError, match=r"pseudo_segments.json: no such file"):
        load_segments(path, CLASSES)
    save_segments(path, FOUND, CLASSES, {})
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("2.5", "2.6"), encoding="utf-8")
    with pytest.raises(UserError, match=r"damaged or edited. Remove .*pseudo_segments.json: the same command makes"):
        load_segments(path, CLASSES)
    path.write_text(text[:-20], encoding="utf-8")
    with pytest.raises(UserError, match="expected a JSON pseudo segments"):
        load_segments(path, CLASSES)
    for other in ("[1, 2]", '{"format": 2}'):
        path.write_text(other, encoding="utf-8")
        with pytest.raises(UserError, match="expected pseudo segments of format 1"):
            load_segments(path, CLASSES)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="of other classes"):
        load_segments(path, CLASSES[:2])
