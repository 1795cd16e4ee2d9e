"""The commands as a user types them, end to end on a small simulated data set, and what they say to mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tc3net.common.stack import KERAS_3
from tc3net.data.holdout import divide
from tc3net.data.pipeline import InputConfig, training_batches
from tc3net.data.split import open_split
from tc3net.inference.raw_scores import load_scores
from tc3net.model import ModelConfig, ThreeCNet
from tc3net.optimization.optimizers import make_optimizer
from tc3net.runs.checkpoints import restore_network
from tc3net.training.metrics_log import read_metrics
from tests.support.commands import TRAIN, command
from tests.support.needs import ADDONS, needs


def test_training_leaves_a_complete_run_folder(work: Path) -> None:
    names = {path.name for path in (work / "run").iterdir()}
    assert names == {"flags.cfg", "run.json", "metrics.jsonl", "checkpoints", "best", "tensorboard", "training.lock"}
    evaluated = [e for e in read_metrics(work / "run") if "evaluation" in e]
    assert [e["step"] for e in evaluated] == [0, 2, 4]
    assert {"thumos14/mAP@0.50", "reference/mAP@0.50", "classification/mAP"} <= set(evaluated[0]["evaluation"])


def test_written_flags_replay_the_run(work: Path, tmp_path: Path) -> None:
    """The flag file of a run gives the same weights again, and resumes where --run_dir is the same."""
    flagfile, run = f"--flagfile={work / 'run' / 'flags.cfg'}", tmp_path / "again"
    command("tc3net.train", flagfile, f"--run_dir={run}", "--notensorboard")
    first, again = read_metrics(work / "run"), read_metrics(run)
    for a, b in zip(first, again):
        assert a.get("selection", 0.0) == pytest.approx(b.get("selection", 0.0))
        assert a.get("loss", 0.0) == pytest.approx(b.get("loss", 0.0), rel=1e-5)
    output = command("tc3net.train", f"--flagfile={run / 'flags.cfg'}", "--iterations=6")
    assert "Resuming after step 4" in output
    assert [e["step"] for e in read_metrics(run)] == [0, 2, 2, 4, 4, 6, 6]


def test_fit_gives_the_weights_of_the_command(work: Path) -> None:
    """A notebook that fits the same batches ends with the weights of the command line's checkpoint."""
    split = open_split(work / "dataset", "validation")
    fitted, trained = (ThreeCNet(3, 8, ModelConfig(), seed=0) for _ in range(2))
    fitted.compile(make_optimizer(1e-3), weight_decay=5e-4)
    batches = training_batches(split, InputConfig(batch_size=16, crop_segments=200))
    fitted.fit(batches, steps_per_epoch=4, epochs=1, verbose=0)
    restore_network(str(work / "run" / "checkpoints" / "step-4"), trained)
    weights = trained.named_variables()
    for name, value in fitted.named_variables().items():
        np.testing.assert_allclose(value, weights[name], rtol=1e-5, atol=1e-6, err_msg=name)


def test_evaluate_writes_everything_and_rescoring_needs_no_model(work: Path, tmp_path: Path) -> None:
    out = tmp_path / "evaluation"
    data = (f"--run_dir={work / 'run'}", f"--dataset_dir={work / 'dataset'}", "--checkpoint=best")
    screen = command("tc3net.evaluate", *data, "--protocols=thumos14,reference,activitynet", f"--output_dir={out}")
    for text in ("thumos14", "reference", "activitynet", "Classification mAP"):
        assert text in screen
    metrics = json.loads((out / "metrics.json").read_text())
    assert set(metrics["localization"]) == {"thumos14", "reference", "activitynet"}
    detections = json.loads((out / "detections.json").read_text())["results"]
    scores = load_scores(out / "raw_scores.npz")
    assert set(detections) == set(scores.video_ids)
    for video, duration_s in zip(scores.video_ids, scores.duration_s):
        for item in detections[video]:
            assert 0 <= item["segment"][0] < item["segment"][1] <= duration_s + 0.64
            assert item["label"] in scores.classes
    before = (out / "metrics.json").read_bytes()
    command("tc3net.evaluate", f"--scores={out / 'raw_scores.npz'}", f"--output_dir={tmp_path / 'b'}")
    again = json.loads((tmp_path / "b" / "metrics.json").read_text())
    assert again["localization"]["thumos14"] == metrics["localization"]["thumos14"]
    assert (out / "metrics.json").read_bytes() == before
    assert "Written to" in command("tc3net.report", str(out))
    assert "activitynet" in (out / "report.html").read_text()
    assert "expected one folder" in command("tc3net.report", expect_failure=True)


def test_predict_on_feature_files_equals_evaluation(work: Path, evaluated: Path, tmp_path: Path) -> None:
    """Separate rgb and flow files, joint ones, and archives give what evaluation gives for the same video."""
    expected = json.loads((evaluated / "detections.json").read_text())["results"]
    features = work / "raw" / "features"
    videos = sorted(path.stem for path in (features / "rgb").glob("*test*"))[:2]
    for video in videos:
        streams = [np.load(features / stream / f"{video}.npy") for stream in ("rgb", "flow")]
        np.save(tmp_path / f"{video}.npy", np.concatenate(streams, axis=1))
        # Two crops, whose mean is the features; float64 holds it exactly.
        crops = [np.stack([values * 0.5, values * 1.5]).astype(np.float64) for values in streams]
        np.savez(tmp_path / f"{video}.npz", rgb=crops[0], flow=crops[1])
    archives = ",".join(str(tmp_path / f"{video}.npz") for video in videos)
    (tmp_path / "list.txt").write_text("".join(f"{video}.npy\n" for video in videos))
    files = {
        "list": [f"--features={tmp_path / 'list.txt'}"],
        "archives": [f"--features={archives}", "--feature_axes=crops_first"],
        "separate": [f"--{s}={','.join(str(features / s / f'{v}.npy') for v in videos)}" for s in ("rgb", "flow")],
    }
    for name, arguments in files.items():
        more = [f"--annotations={work / 'raw' / 'annotations.json'}", f"--output_dir={tmp_path / name}"]
        command("tc3net.predict", f"--run_dir={work / 'run'}", *arguments, *more, "--report")
        page = (tmp_path / name / "report.html").read_text()
        assert "(simulated features)" in page and "nothing is scored" in page
        found = json.loads((tmp_path / name / "detections.json").read_text())["results"]
        for video in videos:
            assert (tmp_path / name / f"{video}.png").stat().st_size > 10_000
            assert len(found[video]) == len(expected[video])
            for a, b in zip(found[video], expected[video]):
                assert a["segment"] == b["segment"]
                assert a["score"] == pytest.approx(b["score"], rel=1e-4, abs=1e-5)
    # Rows that span a video of another length: the same detections, stretched.
    out = tmp_path / "rescaled"
    spans = ["--rescaled_rows", "--duration_s=10,20", f"--output_dir={out}"]
    screen = command("tc3net.predict", f"--run_dir={work / 'run'}", *files["list"], *spans)
    assert "features: one array with all streams for each video, divided into rgb 8, then flow 8, 2 videos" in screen
    found = json.loads((out / "detections.json").read_text())["results"]
    for video, duration_s in zip(videos, (10, 20)):
        stretched = duration_s / (len(np.load(tmp_path / f"{video}.npy")) * 16 / 25)
        assert len(found[video]) == len(expected[video])
        for a, b in zip(found[video], expected[video]):
            assert a["segment"] == pytest.approx([time_s * stretched for time_s in b["segment"]], abs=2e-3)


def test_predict_takes_a_data_set_in_parts_and_a_file_that_grows(work: Path, tmp_path: Path) -> None:
    run, out = f"--run_dir={work / 'run'}", f"--output_dir={tmp_path / 'out'}"
    for index, flag in enumerate(("dataset_dir", "dataset")):  # the second is its former name
        screen = command(
            "tc3net.predict", run, out, f"--{flag}={work / 'dataset'}", f"--task_index={index}", "--num_tasks=2"
        )
        assert f"detections-0000{index}-of-00002.json" in screen
    command("tc3net.predict", "--merge", out, "--num_tasks=2")
    expected = json.loads((tmp_path / "out" / "detections.json").read_text())["results"]
    assert sorted(expected) == sorted(p.stem for p in (work / "raw" / "features" / "rgb").glob("*test*"))

    video = next(video for video, found in expected.items() if found)
    streams = [np.load(work / "raw" / "features" / stream / f"{video}.npy") for stream in ("rgb", "flow")]
    np.save(tmp_path / "live.npy", np.concatenate(streams, axis=1))
    window = f"--follow_window={max(64, len(streams[0]))}"  # all of it: the same as the video
    screen = command(
        "tc3net.predict", run, out, "--follow", f"--features={tmp_path / 'live.npy'}", window, "--follow_timeout_s=0.5"
    )
    assert f"{len(streams[0])} segments; written to" in screen
    lines = [json.loads(line) for line in (tmp_path / "out" / "detections.jsonl").read_text().splitlines()]
    assert {line["label"] for line in lines} & {d["label"] for d in expected[video]}
    assert command("tc3net.predict", run, out, "--follow", expect_failure=True).count("expected one --features file")


def test_tune_writes_a_flagfile_that_the_other_commands_accept(work: Path, tmp_path: Path) -> None:
    run, data = f"--run_dir={work / 'run'}", f"--dataset_dir={work / 'dataset'}"
    out, videos = tmp_path / "tuned", tmp_path / "videos.txt"
    screen = command(
        "tc3net.tune", run, data, "--subset=validation", f"--output_dir={out}", "--budget=12", "--min_segments=2"
    )
    for text in ("was trained on these videos", "12 settings tried", "before", "best", "standard error"):
        assert text in screen
    tuning = json.loads((out / "tuning.json").read_text())
    assert tuning["fixed"] == ["min_segments"]
    assert len(tuning["trials"]) == 12
    assert {trial["settings"]["min_segments"] for trial in tuning["trials"]} == {2}
    flagfile = f"--flagfile={out / 'detection.cfg'}"
    command("tc3net.evaluate", run, data, flagfile, f"--output_dir={tmp_path / 'evaluation'}")
    chosen = [trial for trial in tuning["trials"] if trial["accepted"]][-1]
    metrics = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())
    assert metrics["detection"] == chosen["settings"]
    features = sorted((work / "raw" / "features" / "rgb").glob("*test*"))[0]
    files = [f"--rgb={features}", f"--flow={str(features).replace('rgb', 'flow')}"]
    command("tc3net.predict", run, flagfile, *files, f"--output_dir={tmp_path / 'predicted'}")

    # Settings that read no single stream, so that their T-CAMs are not kept.
    command(
        "tc3net.evaluate", run, data, "--subset=validation", "--flow_weight=0", f"--output_dir={tmp_path / 'train'}"
    )
    scores = load_scores(tmp_path / "train" / "raw_scores.npz")
    videos.write_text("\n".join(scores.video_ids[:6]) + "\n")
    few = [
        f"--scores={tmp_path / 'train' / 'raw_scores.npz'}",
        f"--output_dir={out}",
        f"--videos={videos}",
        "--budget=2",
    ]
    screen = command("tc3net.tune", *few)
    assert "Tuning on 6 videos of small" in screen
    assert "--keep_streams" in screen
    videos.write_text("nobody\n")
    assert "1 not among the scored videos: ['nobody']" in command("tc3net.tune", *few, expect_failure=True)


def test_tune_refuses_the_test_videos(work: Path, evaluated: Path, tmp_path: Path) -> None:
    run, data = f"--run_dir={work / 'run'}", f"--dataset_dir={work / 'dataset'}"
    scores = evaluated / "raw_scores.npz"
    out = f"--output_dir={tmp_path / 'tuned'}"
    for arguments in ([run, data, "--subset=test"], [f"--scores={scores}"], [f"--scores={scores}", run]):
        assert "is the test subset" in command("tc3net.tune", *arguments, out, expect_failure=True)
    assert "held out no training videos" in command("tc3net.tune", run, data, out, expect_failure=True)
    assert not (tmp_path / "tuned").exists()


def test_export_writes_a_saved_model(work: Path, tmp_path: Path) -> None:
    command("tc3net.export", f"--run_dir={work / 'run'}", f"--export_dir={tmp_path}", "--model_name=small")
    assert (tmp_path / "small" / "1" / "saved_model.pb").is_file()


WITHOUT_TEST_SET = (
    "--optimizer=adamw", "--weight_decay_mode=decoupled", "--clip_norm=1", "--schedule=cosine", "--warmup_steps=1",
    "--ema_decay=0.9", "--holdout_fraction=0.5", "--early_stopping_patience=5", "--test_subset=", "--log_every=1",
)  # fmt: skip


@pytest.fixture(scope="module")
def averaged(work: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run that averages its weights and selects by videos that it held out; and what it printed."""
    run = tmp_path_factory.mktemp("averaged") / "run"
    return run, command(*TRAIN, f"--dataset_dir={work / 'dataset'}", f"--run_dir={run}", *WITHOUT_TEST_SET)


def test_a_run_without_test_set_that_averages_and_stops_early(
    work: Path, averaged: tuple[Path, str], tmp_path: Path
) -> None:
    folder, screen = averaged
    data, run = f"--dataset_dir={work / 'dataset'}", f"--run_dir={folder}"
    assert "held out" in screen and "selected by loss on the held-out training videos" in screen
    entries = read_metrics(folder)
    rates = [entry["learning_rate"] for entry in entries if "learning_rate" in entry]
    assert rates == pytest.approx([5e-4, 1e-3, 1e-3 * (0.01 + 0.99 * 0.75), 1e-3 * (0.01 + 0.99 * 0.25)])
    assert all(entry["gradient_norm"] > 0 for entry in entries if "loss" in entry)
    described = json.loads((folder / "run.json").read_text())["training"]
    assert described["selected_by"] == "loss on the held-out training videos" and described["decay_steps"] == 3
    for weights, text in (("averaged", "(averaged weights)"), ("raw", "step-4\n")):
        out = f"--output_dir={tmp_path / weights}"
        assert text in command("tc3net.evaluate", run, data, f"--weights={weights}", out)
    refused = command(*TRAIN, data, run, *WITHOUT_TEST_SET, "--ema_decay=0.5", expect_failure=True)
    assert "ema_decay is 0.9 there, 0.5 here" in refused


def test_tune_takes_the_videos_that_the_run_held_out(work: Path, averaged: tuple[Path, str], tmp_path: Path) -> None:
    run, data = f"--run_dir={averaged[0]}", f"--dataset_dir={work / 'dataset'}"
    screen = command("tc3net.tune", run, data, f"--output_dir={tmp_path / 'tuned'}", "--budget=2")
    split = open_split(work / "dataset", "validation")
    held_out = divide(split, 0.5, 0)[1].num_videos
    assert 4 <= held_out < split.num_videos
    assert f"{held_out} videos of subset validation" in screen
    assert "was trained on" not in screen
    assert (tmp_path / "tuned" / "detection.cfg").is_file()


@needs(ADDONS)
def test_a_run_with_lookahead_is_evaluated_and_exported_by_its_slow_weights(work: Path, tmp_path: Path) -> None:
    data, run = f"--dataset_dir={work / 'dataset'}", f"--run_dir={tmp_path / 'run'}"
    how = ("--optimizer=radam", "--lookahead_steps=3", "--schedule=cosine")
    command(*TRAIN, data, run, *how)
    described = json.loads((tmp_path / "run" / "run.json").read_text())["training"]
    assert (described["optimizer"], described["lookahead_steps"]) == ("radam", 3)
    assert "(averaged weights)" in command("tc3net.evaluate", run, data, f"--output_dir={tmp_path / 'out'}")
    assert "(averaged weights)" in command("tc3net.export", run, f"--export_dir={tmp_path / 'export'}")
    refused = command(*TRAIN, data, run, *how, "--lookahead_steps=4", expect_failure=True)
    assert "lookahead_steps is 3 there, 4 here" in refused


def test_mistakes_are_refused_before_any_work(work: Path, tmp_path: Path) -> None:
    data = f"--dataset_dir={work / 'dataset'}"
    new = f"--run_dir={tmp_path / 'new'}"
    cases = {
        "--learnin_rate is no flag of this command. Did you mean --learning_rate?": [
            *TRAIN,
            data,
            new,
            "--learnin_rate=1",
        ],
        "--dropout=1.5; expected a rate in [0, 1)": [*TRAIN, data, new, "--dropout=1.5"],
        "--run_dir is missing": [*TRAIN, data],
        "--beta=1.0 with --batches=cropped": [*TRAIN, data, new, "--batches=cropped"],
        "--count_start_step=9 with --iterations=4": [*TRAIN, data, new, "--count_start_step=9"],
        "--max_segments=100 is below --crop_segments=200": [*TRAIN, data, new, "--max_segments=100"],
        "no videos in a subset 'training'": [*TRAIN, data, new, "--train_subset=training"],
        "--protocols=coco: expected one or more of": [*TRAIN, data, new, "--protocols=coco"],
        "positional arguments ['oops']": [*TRAIN, data, new, "oops"],
        "needs tensorflow-addons" if KERAS_3 else "SWA's first snapshot is due after step 5, and --iterations=4 end": [
            *TRAIN,
            data,
            new,
            "--swa_period=5",
        ],
        "dropout is 0.7 there, 0.1 here": [*TRAIN, data, f"--run_dir={work / 'run'}", "--dropout=0.1"],
    }
    for message, arguments in cases.items():
        assert message in command(*arguments, expect_failure=True)
        assert not (tmp_path / "new").exists()


def test_data_and_runs_that_do_not_belong_together_are_refused(work: Path, tmp_path: Path) -> None:
    sizes = ("--num_train=4", "--num_test=2", "--num_classes=2", "--feature_dim=8", "--median_duration_s=30")
    raw, other = tmp_path / "raw", tmp_path / "other"
    command("data_prep.synthetic", f"--output_dir={raw}", *sizes)
    where = (f"--annotations={raw / 'annotations.json'}", f"--features={raw / 'features'}", f"--output_dir={other}")
    command("data_prep.convert", *where, "--name=other")
    run = f"--run_dir={work / 'run'}"
    output = command("tc3net.evaluate", run, f"--dataset_dir={other}", expect_failure=True)
    assert "was trained on 3 classes" in output and "has 2 classes" in output
    np.save(tmp_path / "narrow.npy", np.zeros((5, 6), np.float32))
    features = f"--features={tmp_path / 'narrow.npy'}"
    output = command("tc3net.predict", run, features, f"--output_dir={tmp_path / 'p'}", expect_failure=True)
    assert "narrow.npy: shape (5, 6) found, [segments, 16] expected" in output
    np.save(tmp_path / "nan.npy", np.full((5, 16), np.nan, np.float32))
    output = command(
        "tc3net.predict",
        run,
        f"--features={tmp_path / 'nan.npy'}",
        f"--output_dir={tmp_path / 'p'}",
        expect_failure=True,
    )
    assert "nan.npy: NaN or Inf in 5 segments, the first is 0" in output


def test_the_demo_never_empties_a_folder_that_it_did_not_make(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    output = command("tc3net.demo", f"--output_dir={tmp_path}", expect_failure=True)
    assert "was not made by this demo" in output
    assert (tmp_path / "thesis.tex").read_text() == "precious"
