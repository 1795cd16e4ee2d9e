"""A file of detections that is written part by part."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tc3net.common.files import write_json
from tc3net.intervals import detections_json
from tc3net.intervals.activitynet_json import detection_entry, results_file
from tc3net.intervals.detections_json import save_results

ENTRIES = st.builds(
    detection_entry, st.text(max_size=5), *(st.floats(allow_nan=False, allow_infinity=False) for _ in range(3))
)
TRICKY = st.sampled_from(['"results": {}', "a\nb", "\u2028", "é", '"', "}\n {"])
FOUND = st.dictionaries(TRICKY | st.text(max_size=8), st.lists(ENTRIES, max_size=3), max_size=6)


@settings(deadline=None, max_examples=100)
@given(FOUND, st.integers(1, 3), st.sampled_from([1, 1 << 24]))
def test_parts_are_written_as_one_file(
    tmp_path_factory: pytest.TempPathFactory, found: dict[str, Any], size: int, in_memory: int
) -> None:
    folder = tmp_path_factory.mktemp("detections")
    write_json(folder / "whole.json", results_file(found))
    videos = list(found.items())
    parts = [dict(videos[first : first + size]) for first in range(0, len(videos), size)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detections_json, "_IN_MEMORY", in_memory)
        save_results(folder / "parts.json", parts)
        save_results(folder / "with_empty.json", [{}, *parts, {}])
    for name in ("parts.json", "with_empty.json"):
        assert (folder / name).read_bytes() == (folder / "whole.json").read_bytes()


def test_what_is_no_json_or_fails_on_the_way_leaves_the_earlier_file(tmp_path: Path) -> None:
    path = tmp_path / "detections.json"
    save_results(path, [{"a": []}])
    before = path.read_bytes()

    def interrupted() -> Iterator[dict[str, Any]]:
        yield {"b": []}
        raise KeyboardInterrupt

    with pytest.raises(ValueError, match="JSON compliant"):
        save_results(path, [{"b": [detection_entry("x", float("nan"), 0.0, 1.0)]}])
    with pytest.raises(KeyboardInterrupt):
        save_results(path, interrupted())
    assert path.read_bytes() == before
    assert json.loads(before)["results"] == {"a": []}
    assert [other.name for other in tmp_path.iterdir()] == ["detections.json"]
