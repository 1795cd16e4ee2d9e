"""`detections-to`: subtitles beside the videos, tasks for Label Studio, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support import forked_commands


def test_subtitles_and_tasks_of_an_evaluation(evaluated: Path, tmp_path: Path) -> None:
    detections = f"--detections={evaluated / 'detections.json'}"
    found = json.loads((evaluated / "detections.json").read_text(encoding="utf-8"))["results"]
    for form, ending in (("webvtt", ".vtt"), ("srt", ".srt")):
        arguments = ["tc3net.detections_to", detections, f"--format={form}", f"--output_dir={tmp_path / form}"]
        status, output = forked_commands.screen([*arguments, "--max_per_video=3"], tmp_path)
        assert status == 0 and f"in {len(found)} videos" in output
        assert {path.name for path in (tmp_path / form).iterdir()} == {f"{video}{ending}" for video in found}
        for video, entries in found.items():
            text = (tmp_path / form / f"{video}{ending}").read_text(encoding="utf-8")
            assert text.count("-->") == min(3, len(entries))
    arguments = ["tc3net.detections_to", detections, "--format=label_studio", f"--output_dir={tmp_path / 'tasks'}"]
    done = forked_commands.run(arguments, tmp_path)
    assert (done.returncode, "--fps is missing" in done.stderr) == (2, True)
    status, output = forked_commands.screen([*arguments, "--fps=25"], tmp_path)
    assert status == 0, output
    tasks = json.loads((tmp_path / "tasks" / "tasks.json").read_text(encoding="utf-8"))
    assert [task["data"]["video_id"] for task in tasks] == list(found)
    assert tasks[0]["data"]["video"] == f"{next(iter(found))}.mp4"


def test_names_that_are_no_file_names_write_nothing(tmp_path: Path) -> None:
    entries = {"../out": [{"label": "Run", "score": 1, "segment": [0, 1]}]}
    (tmp_path / "d.json").write_text(json.dumps({"results": entries}))
    done = forked_commands.run(["tc3net.detections_to", "--detections=d.json", "--output_dir=a/b"], tmp_path)
    assert done.returncode == 1 and "'../out' is no file name" in done.stderr
    assert {path.name for path in tmp_path.rglob("*")} == {"d.json"}
