"""The report: its data against the library's numbers and hand-computed ones, its size, its safety, its errors."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tc3net.common.errors import UserError
from tc3net.detection import DetectionConfig
from tc3net.evaluation import analyse_errors, evaluate_localization
from tc3net.intervals.columns import AnnotatedVideos, Detections, GroundTruth
from tc3net.report import VideoFiles, load_input, video_files, write_report
from tc3net.report.curves import packed
from tc3net.report.page import browser_data, render
from tc3net.results.assessment import assess_scored
from tc3net.results.folder import load_folder
from tc3net.results.sources import Scored, from_scores
from tests.support.report_cases import HOSTILE, example, raw_scores, report_input, write_folder


class Page(HTMLParser):
    """Tags, addresses, table cells and script contents of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self.cells: list[str] = []
        self.scripts: list[str] = []
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self._open = tag
        self.addresses += [str(value) for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        if tag in ("td", "th"):
            self.cells.append("")
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._open = ""

    def handle_data(self, data):
        if self._open in ("td", "th", "a"):
            self.cells[-1:] = [(self.cells or [""])[-1] + data]
        if self._open == "script":
            self.scripts[-1] += data


def data_of(page: str) -> dict:
    return json.loads(Page(page).scripts[0])


@pytest.fixture(scope="module")
def plain() -> str:
    """A page with harmless names."""
    return render(example((30, 20, 25, 40, 33, 12)))


def by_hand() -> Scored:
    """Two videos, two classes: every type of error but confusion; b has no duration."""
    truth = GroundTruth(
        classes=("Run", "Jump"),
        video_ids=("a", "b"),
        video=np.array([0, 0, 1]),
        label=np.array([0, 0, 1]),
        start_s=np.array([0.0, 20, 5]),
        end_s=np.array([10.0, 30, 15]),
        ambiguous_video=np.zeros(0, int),
        ambiguous_start_s=np.zeros(0),
        ambiguous_end_s=np.zeros(0),
    )
    rows = [  # video, class, start, end, score; in no order
        (0, 0, 50, 60, 0.3),  # background
        (0, 0, 0, 10, 0.9),  # true positive
        (1, 0, 5, 15, 0.4),  # wrong label: the instance is a Jump
        (0, 0, 0, 9, 0.7),  # double detection
        (0, 0, 20, 23, 0.5),  # localization: 3 / 10
    ]
    video, label, start_s, end_s, score = np.array(rows, np.float64).T
    found = Detections(("a", "b"), video.astype(int), label.astype(int), start_s, end_s, score)
    return Scored("by hand", AnnotatedVideos("hand-made", truth, np.array([70.0, np.nan])), found)


def test_what_a_video_shows_by_hand() -> None:
    data = browser_data(report_input(by_hand(), protocols=("thumos14",)))
    assert (data["protocol"], data["tious"][data["tiou"]]) == ("thumos14", 0.5)
    a, b = data["videos"]
    half, third = 4, 1  # rows of tIoU 0.5 and 0.2
    (run,) = a["tracks"]
    assert (run["class"], run["probability"], run["curve"], run["eta"]) == (0, None, None, [])
    assert list(zip(run["start"], run["end"], run["score"])) == [
        (0, 10, 0.9), (0, 9, 0.7), (20, 23, 0.5), (50, 60, 0.3),
    ]  # fmt: skip
    assert (run["types"][half], run["missed"][half]) == ("0135", "01")
    assert (run["types"][third], run["missed"][third]) == ("0105", "00")
    assert run["instances"] == [[0, 10], [20, 30]]
    assert run["ap"][half] == 0.5  # precision 1 at one of two instances
    assert run["ap"][third] == pytest.approx((1 + 2 / 3) / 2, abs=1e-4)
    assert a["errors"][half] == [1, 1, 0, 1, 0, 1, 1]
    assert (a["duration"], a["end"], b["duration"], b["end"]) == (70, 70, None, 15)
    jump, run = b["tracks"]  # the annotated class first
    assert (jump["class"], jump["start"], jump["instances"], jump["missed"][half], jump["ap"][half]) == (
        1, [], [[5, 15]], "1", 0,
    )  # fmt: skip
    assert (run["class"], run["types"][half], run["instances"], run["ap"]) == (0, "2", [], None)
    assert b["errors"][half] == [0, 0, 1, 0, 0, 0, 1]


def test_errors_per_video_add_up_to_the_analysis_and_aps_are_those_of_the_video_alone() -> None:
    report = example()
    data = browser_data(report, most_classes=100)
    errors = analyse_errors(report.assessment.matches[0])
    totals = np.sum([video["errors"] for video in data["videos"]], axis=0)
    np.testing.assert_array_equal(totals[:, :6], errors.counts)
    np.testing.assert_array_equal(totals[:, 6], report.assessment.matches[0].missed.sum(axis=1))
    truth, found = report.annotated.truth, report.detections
    for place, video in enumerate(data["videos"]):
        assert video["hidden"] == [0, 0]
        own = [
            [sum(track["types"][t].count(str(kind)) for track in video["tracks"]) for kind in range(6)]
            for t in range(7)
        ]
        np.testing.assert_array_equal(own, np.array(video["errors"])[:, :6])
        for track in video["tracks"]:
            mine = (truth.video == place) & (truth.label == track["class"])
            if not mine.any():
                assert track["ap"] is None
                continue
            alone = replace(
                truth, video=truth.video[mine], label=truth.label[mine], start_s=truth.start_s[mine],
                end_s=truth.end_s[mine],
            )  # fmt: skip
            keep = (found.video == place) & (found.label == track["class"])
            columns = {name: getattr(found, name)[keep] for name in ("video", "label", "start_s", "end_s", "score")}
            result = evaluate_localization("thumos14", alone, replace(found, **columns))
            np.testing.assert_allclose(track["ap"], result.ap[:, 0], atol=5e-5)


def test_classes_beyond_the_limit_are_counted_but_annotated_ones_stay() -> None:
    report = example()
    everything, cut = browser_data(report, most_classes=100), browser_data(report, most_classes=1)
    assert len(cut["videos"][0]["tracks"]) == 2  # both are annotated there
    for full, video in zip(everything["videos"], cut["videos"]):
        left_out = full["tracks"][len(video["tracks"]) :]
        assert video["hidden"] == [sum(len(track["start"]) for track in left_out), len(left_out)]
        assert video["errors"] == full["errors"]


@given(st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=60), st.integers(2, 30))
def test_packed_curves_keep_every_value_or_the_extremes(values: list[float], most: int) -> None:
    curve = np.array(values, np.float32)
    found = packed(curve, most)
    group, step = found["group"], (found["high"] - found["low"]) / 255
    levels = np.frombuffer(base64.b64decode(found["data"]), np.uint8) * step + found["low"]
    if group == 1:
        assert len(curve) <= most
        np.testing.assert_allclose(levels, curve, atol=step / 2 + 1e-4)
        return
    levels = levels.reshape(-1, 2)
    assert len(levels) <= most
    for (low, high), first in zip(levels, range(0, len(curve), group)):
        np.testing.assert_allclose(
            [low, high], [f(curve[first : first + group]) for f in (min, max)], atol=step / 2 + 1e-4
        )


def test_a_folder_gives_the_numbers_of_its_metrics(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "run" / "evaluation", raw_scores([60, 25, 40, 33, 80, 12]), resamples=100)
    report = load_input(tmp_path / "run")
    metrics = json.loads((folder / "metrics.json").read_text())
    found = report.assessment.as_dict(report.classes)
    assert found["localization"] == metrics["localization"] and found["classification"] == metrics["classification"]
    page = render(report)
    cells = Page(page).cells
    for result in metrics["localization"].values():
        assert result["protocol"] in cells
        for value in [*result["map_fraction"], *result["average_map_fraction"].values()]:
            assert f"{100 * value:.1f}" in cells
    for name, of_class in metrics["localization"]["thumos14"]["classes"].items():
        row = cells.index(name)
        shown = [f"{100 * value:.1f}" for value in of_class["ap_fraction"]]
        assert cells[row + 1 : row + 3] == [str(of_class["num_instances"]), str(of_class["num_detections"])]
        assert cells[row + 4 : row + 11] == shown
    assert "<title>random (simulated features): tc3net report</title>" in page
    assert f"Classification mAP [%]: {100 * metrics['classification']['map_fraction']:.1f}" in page
    assert "95 % low" in page and "step-1" in page


def test_a_folder_from_when_thumos14_was_the_kit_keeps_its_numbers(tmp_path: Path) -> None:
    names = ("thumos14_kit", "reference")
    folder = write_folder(tmp_path, raw_scores([60, 25, 40, 33, 80, 12]), resamples=100, protocols=names)
    metrics = json.loads((folder / "metrics.json").read_text())
    kit = metrics["localization"]["thumos14_kit"]
    old = {"thumos14": {**kit, "protocol": "thumos14"}, "reference": dict(metrics["localization"]["reference"])}
    for result in old.values():
        del result["version"]
    (folder / "metrics.json").write_text(json.dumps({**metrics, "localization": old}))
    report = load_input(folder)
    assert report.assessment.as_dict(report.classes)["localization"] == metrics["localization"]
    assert "thumos14_kit" in Page(render(report)).cells
    # The protocol of now gives others, so that it matters.
    assert kit["map_fraction"] != assess_scored(load_folder(folder), ["thumos14"]).localization[0].map.tolist()
    old["reference"]["version"] = 2
    (folder / "metrics.json").write_text(json.dumps({**metrics, "localization": old}))
    with pytest.raises(UserError, match="reference of version 2 is asked for; expected version 1"):
        load_input(folder)


def test_curves_and_thresholds_are_those_of_detection() -> None:
    report = example()
    scores, (video, *_) = report.scores, browser_data(report)["videos"]
    for track in video["tracks"]:
        own = scores.tcam_of(0)[:, track["class"]]
        assert track["eta"] in ([], [pytest.approx((own.min() + own.max()) / 2, rel=1e-4)])
        assert bool(track["eta"]) == bool(track["start"])
        assert (track["curve"]["low"], track["curve"]["high"]) == (own.min(), own.max())
    assert video["curve"] == [0.0, pytest.approx(0.64)]


def test_several_thresholds_and_cells_within_segments() -> None:
    scores = raw_scores([50, 20])
    config = DetectionConfig(upsampling=4, threshold="range", threshold_levels="0.25,0.75", nms="hard")
    report = replace(report_input(from_scores("x", scores, config), scores), config=config)
    for video in browser_data(report)["videos"]:
        assert video["curve"] == [0.0, pytest.approx(0.16)]
        for track in video["tracks"]:
            low, high = track["curve"]["low"], track["curve"]["high"]
            assert track["eta"] in ([], pytest.approx([0.75 * low + 0.25 * high, 0.25 * low + 0.75 * high], rel=1e-3))
            cells = np.array(track["start"]) / 0.16
            np.testing.assert_allclose(cells, np.rint(cells), atol=0.01)  # the page has milliseconds


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "evaluation", raw_scores([30, 20]), resamples=100)
    for name in ("a", "b"):
        write_report(tmp_path / f"{name}.html", load_input(folder))
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_the_page_loads_nothing_from_elsewhere(plain: str) -> None:
    assert all(address.startswith(("#", "data:")) for address in Page(plain).addresses)
    assert "default-src 'none'" in plain
    assert not re.search(r"@import|url\((?!#)", plain.split("</style>")[0])


def test_hostile_names_stay_text(plain: str) -> None:
    names = [f"{name} {number}" for number, name in enumerate(HOSTILE)]
    names[2] = "__proto__"
    report = example((30, 20, 25, 40, 33, 12), classes=names[:3], video_ids=names, dataset=HOSTILE[0])
    page = render(replace(report, facts={HOSTILE[0]: HOSTILE[1]}, notes=HOSTILE))
    found = Page(page)
    extra = ["li"] * len(HOSTILE) + ["h3", "dl", "dt", "dd"]
    assert sorted(found.tags) == sorted([*Page(plain).tags, *extra])
    assert not found.handlers
    data = data_of(page)
    assert data["classes"] == names[:3] and [video["id"] for video in data["videos"]] == names
    assert set(names[:3]) < set(found.cells)


def test_thumos14_sized_page_is_small_enough(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    lengths = np.clip(rng.lognormal(5.4, 0.8, 213).astype(int), 10, 7000)
    lengths[0] = 7000
    report = example(lengths, classes=[f"Class{i:02d}" for i in range(20)], instances=15)
    write_report(tmp_path / "report.html", report)
    assert len(report.detections) > 80_000
    assert (tmp_path / "report.html").stat().st_size < 25e6
    data = data_of((tmp_path / "report.html").read_text())
    assert data["videos"][0]["tracks"][0]["curve"]["group"] == 7


def test_without_raw_scores_and_without_ground_truth(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "evaluation", raw_scores([30, 20]))
    (folder / "raw_scores.npz").unlink()
    page = render(load_input(folder))
    assert "There are no T-CAMs" in page and data_of(page)["videos"][0]["tracks"][0]["curve"] is None
    page = render(replace(example((30, 20)), annotated=None, assessment=None, recall=None))
    data = data_of(page)
    assert "nothing is scored" in page and 'id="errors"' not in page
    assert data["tious"] == [] and data["videos"][0]["tracks"][0]["instances"] is None
    assert data["videos"][0]["annotated"] is False


def test_folders_without_results_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no detections.json found .* Run `python -m tc3net.evaluate`"):
        load_input(tmp_path)
    folder = write_folder(tmp_path / "evaluation", raw_scores([30, 20]))
    metrics = json.loads((folder / "metrics.json").read_text())
    for wrong in ({}, {"localization": {}}, {"localization": []}):
        (folder / "metrics.json").write_text(json.dumps({"detection": metrics["detection"], **wrong}))
        with pytest.raises(UserError, match=r"metrics\.json: no localization results"):
            load_input(folder)
    (folder / "metrics.json").write_text("[]")
    with pytest.raises(UserError, match=r"metrics\.json: expected metrics"):
        load_input(folder)


def test_video_files_are_linked_or_embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "my videos"
    with pytest.raises(UserError, match="no such folder"):
        VideoFiles.in_folder(folder).urls(["a"], tmp_path / "r.html")
    folder.mkdir()
    (folder / "notes.txt").write_text("x")
    with pytest.raises(UserError, match=r"no file of these videos found; expected names such as a\.mp4"):
        VideoFiles.in_folder(folder).urls(["a"], tmp_path / "r.html")
    (folder / "a.mp4").write_bytes(b"abc")
    (folder / 'x"#?.webm').write_bytes(b"w")
    urls = VideoFiles.in_folder(folder).urls(["a", 'x"#?', "absent"], tmp_path / "pages" / "r.html")
    assert urls == {"a": "../my%20videos/a.mp4", 'x"#?': "../my%20videos/x%22%23%3F.webm"}
    urls = VideoFiles.in_folder(folder, embed=True).urls(["a", 'x"#?'], tmp_path / "r.html")
    assert urls == {"a": "data:video/mp4;base64,YWJj", 'x"#?': "data:video/webm;base64,dw=="}
    monkeypatch.setattr(video_files, "MOST_EMBEDDED_MB", 1e-6)
    with pytest.raises(UserError, match="--embed_videos: the 1 files"):
        VideoFiles.in_folder(folder, embed=True).urls(["a"], tmp_path / "r.html")
