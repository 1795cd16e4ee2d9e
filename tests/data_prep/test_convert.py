"""The conversion: what is written equals what was read, and the manifest describes it truly."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_prep.annotations import Instance, VideoRecord, read_annotations
from data_prep.checks.counts import count_instances
from data_prep.conversion.pipeline import ConvertOptions, convert
from data_prep.conversion.writer import to_example
from data_prep.features.layouts import open_features
from data_prep.inputs.options import InputOptions
from data_prep.inspection.findings import inspect_dataset
from data_prep.simulation.simulator import SimulatorConfig
from data_prep.synthetic import SyntheticOptions, simulate
from tc3net.common.errors import UserError
from tc3net.common.files import sha256_of
from tc3net.data import schema
from tc3net.data.record_index import read_index, write_index
from tc3net.data.timebase import TimeBase
from tests.support.conversion import VIDEOS, read_split, write_inputs

MODEL = SimulatorConfig(seed=3, feature_dim=3, median_duration_s=25.0)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory) -> dict[str, ConvertOptions]:
    """The same simulated data in both layouts."""
    folder = tmp_path_factory.mktemp("simulated")
    sources = {
        "activitynet": ("annotations.json", "features"),
        "wtalc": ("annotations", "Simulated-I3D-JOINTFeatures.npy"),
    }
    options = {}
    for layout, (annotation_file, feature_file) in sources.items():
        source = folder / layout
        simulate(SyntheticOptions(source, num_train=7, num_test=3, num_classes=3, layout=layout, model=MODEL))
        options[layout] = ConvertOptions(
            InputOptions(source / annotation_file, source / feature_file),
            folder / f"{layout}_out",
            "Simulated",
            videos_per_shard=3,
        )
    return options


def test_round_trip_is_exact(simulated):
    options = simulated["activitynet"]
    manifest = convert(options)
    assert schema.load_manifest(options.output_dir) == manifest
    assert manifest.source["simulated_features"]
    annotations, _ = read_annotations(options.inputs.annotations)
    reader, _ = open_features(options.inputs.features, [])
    for subset in ("validation", "test"):
        records = [record for record in annotations.videos if record.subset == subset]
        examples = read_split(Path(options.output_dir), subset)
        assert [example["id"].decode() for example in examples] == [record.video_id for record in records]
        for example, record in zip(examples, records):
            rgb, flow = reader.read(record.video_id)
            assert rgb.dtype == np.float32
            np.testing.assert_array_equal(example["rgb"], rgb)
            np.testing.assert_array_equal(example["flow"], flow)
            assert example["num_segments"] == len(rgb)
            assert example["duration"] == record.duration_s
            assert example["subset"].decode() == subset
            np.testing.assert_array_equal(example["instances/start"], [item.start_s for item in record.instances])
            np.testing.assert_array_equal(example["instances/end"], [item.end_s for item in record.instances])
            names = [manifest.classes[label] for label in example["instances/label"]]
            assert names == [item.label for item in record.instances]
            counts = {manifest.classes[label]: count for label, count in zip(example["labels"], example["counts"])}
            assert counts == {name: names.count(name) for name in set(names)}
            assert example["counts_known"].all()
            assert example["instances_known"] == 1
            assert (example["fps"], example["frames_per_segment"], example["stride_frames"]) == (25.0, 16, 16)


def test_manifest_describes_the_files(simulated):
    options = simulated["activitynet"]
    manifest = convert(options)
    shards = [shard for split in manifest.splits.values() for shard in split.shards]
    assert [(shard.file, shard.videos) for shard in shards] == [
        ("validation-00000-of-00003.tfrecord", 3),
        ("validation-00001-of-00003.tfrecord", 3),
        ("validation-00002-of-00003.tfrecord", 1),
        ("test-00000-of-00001.tfrecord", 3),
    ]
    folder = Path(options.output_dir)
    assert sorted(os.listdir(folder)) == sorted([shard.file for shard in shards] + ["dataset.json", "dataset.index"])
    index = (folder / "dataset.index").read_bytes()
    write_index(folder, manifest)
    assert (folder / "dataset.index").read_bytes() == index
    assert {name: len(read_index(folder, manifest, name)) for name in manifest.splits} == {"validation": 7, "test": 3}
    for shard in shards:
        assert shard.bytes == (folder / shard.file).stat().st_size
        assert shard.sha256 == sha256_of(folder / shard.file)
    for subset, split in manifest.splits.items():
        assert split.segments == sum(len(example["rgb"]) for example in read_split(folder, subset))


def test_both_layouts_give_the_same_shards_every_time(simulated):
    first = convert(simulated["activitynet"])
    second = convert(simulated["wtalc"])
    assert first.splits == second.splits
    assert (first.classes, first.counted_classes) == (second.classes, second.counted_classes)
    assert convert(simulated["wtalc"]).splits == second.splits


def test_float16_storage(simulated, tmp_path):
    options = replace(simulated["activitynet"], output_dir=tmp_path / "out", feature_dtype="float16")
    convert(options)
    reader, _ = open_features(options.inputs.features, [])
    for example in read_split(tmp_path / "out", "test"):
        rgb, _ = reader.read(example["id"].decode())
        np.testing.assert_array_equal(example["rgb"], rgb.astype(np.float16).astype(np.float32))


def test_labels_and_counts_follow_the_rules(tmp_path):
    """v1: an exact duplicate counts once, a zero-length instance is kept but not counted, Swim has no instance."""
    options = write_inputs(tmp_path, classes=["Run", "Jump", "Swim", "Dive"])
    manifest = convert(options)
    assert manifest.counted_classes == ("Run", "Jump")
    first, second = read_split(tmp_path / "out", "training")
    (third,) = read_split(tmp_path / "out", "test")
    assert first["labels"].tolist() == [0, 1, 2]
    assert first["counts"].tolist() == [2, 0, 0]
    assert first["counts_known"].tolist() == [1, 0, 0]
    assert first["instances/start"].tolist() == [0.1, 0.1, 3.0, 2.0]
    assert first["instances/end"].tolist() == [1.30000001, 1.30000001, 3.5, 2.0]
    assert (second["labels"].tolist(), second["counts_known"].tolist()) == ([1], [0])
    assert (second["instances_known"], third["instances_known"]) == (0, 1)
    assert third["labels"].tolist() == []
    assert (third["ambiguous/start"].tolist(), third["ambiguous/end"].tolist()) == ([1.1], [2.2])


def test_explicit_counts_and_counted_classes():
    instances = (Instance(0, 1, "Run"), Instance(2, 3, "Jump"))
    record = VideoRecord("v", "test", 9.0, ("Run",), instances, True)
    assert count_instances(record, frozenset({"Run", "Jump"}), 99.0) == {"Run": 1, "Jump": 1}
    assert count_instances(record, frozenset({"Run"}), 99.0) == {"Run": 1}
    explicit = replace(record, instances=(), instances_known=False, counts={"Swim": 4, "Run": 0})
    assert explicit.present == {"Run", "Swim"}
    assert count_instances(explicit, frozenset({"Run", "Swim"}), 99.0) == {"Swim": 4}
    features = np.ones((3, 2), np.float32)
    example = to_example(
        explicit,
        {"rgb": features, "flow": features},
        classes=("Run", "Swim"),
        counted_classes=("Swim",),
        feature_dtype="float32",
        time_base=TimeBase(),
    )
    assert (example.labels, example.counts, example.counts_known) == ([0, 1], [0, 4], [False, True])


def test_summary(tmp_path, capsys):
    convert(write_inputs(tmp_path))
    printed = capsys.readouterr().out
    for text in (
        "(ActivityNet JSON), 3 videos",
        "(a folder for each stream, npy), 3 videos",
        "Tiny: 3 classes (2 counted), streams rgb 2, then flow 2, float32",
        "1: instance of zero length: kept as ground truth, not counted [zero_length]: v1",
        "1: instance listed more than once: kept as ground truth, counted once [exact_duplicate]: v1",
        "[labels_differ]: v1",
    ):
        assert text in printed
    rows = {line.split()[0]: line.split() for line in printed.splitlines() if line.split()}
    assert rows["training"] == ["training", "2", "20", "0.00", "1", "4", "3", "1", "2", "2.0", "2"]
    assert rows["test"] == ["test", "1", "10", "0.00", "1", "0", "0", "0", "0", "-", "-"]


def test_a_row_count_that_does_not_match_names_the_file(simulated, tmp_path):
    np.save(tmp_path / "f.npy", np.ones((4, 2, 6), np.float32))
    inputs = replace(simulated["wtalc"].inputs, features=tmp_path / "f.npy")
    options = replace(simulated["wtalc"], inputs=inputs, output_dir=tmp_path / "out")
    with pytest.raises(UserError, match=r"f\.npy: 4 rows found; expected 10"):
        convert(options)
    assert os.listdir(tmp_path) == ["f.npy"]


def test_late_instances_can_be_kept_as_ground_truth_without_being_counted(tmp_path, capsys):
    videos = {name: dict(entry) for name, entry in VIDEOS.items()}
    late = {"label": "Run", "segment": [7, 8]}  # the video and its features end at 6.4 s
    videos["v1"] = {**videos["v1"], "annotations": [*videos["v1"]["annotations"], late]}
    videos["v2"] = {**videos["v2"], "annotations": [late]}
    manifest = convert(replace(write_inputs(tmp_path, videos), keep_late_instances=True))
    assert manifest.left_out == ()
    assert "late_instance" in capsys.readouterr().out
    first, second = read_split(tmp_path / "out", "training")
    assert first["instances/start"].tolist()[-1] == 7.0
    assert first["counts"].tolist() == [0, 2, 0]
    # The class occurs in v2, but no instance that can be seen says how often.
    assert (second["labels"].tolist(), second["counts_known"].tolist()) == ([0, 1], [0, 0])


def test_an_instance_after_the_last_row_is_kept_and_not_counted(tmp_path, capsys):
    """10 rows are 6.4 s, whatever duration is stated."""
    items = [{"label": "Run", "segment": [start_s, start_s + 1]} for start_s in (1, 6, 7, 19)]
    videos = {"v1": {"subset": "training", "duration": 20.0, "annotations": [*items, {**items[2], "label": "Jump"}]}}
    convert(write_inputs(tmp_path, videos))
    (example,) = read_split(tmp_path / "out", "training")
    assert example["instances/start"].tolist() == [1, 6, 7, 19, 7]
    # Jump occurs, but no row shows how often.
    assert (example["counts"].tolist(), example["counts_known"].tolist()) == ([0, 2], [0, 1])
    assert "3 in 1 video: instance starts after the last feature row" in capsys.readouterr().out
    assert inspect_dataset(tmp_path / "out").errors() == ()
