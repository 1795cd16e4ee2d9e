"""Every command of README.md and docs/ names modules, flags and values that exist; the two walks through are walked."""

from __future__ import annotations

import ast
import csv
import importlib
import inspect
import json
import re
import shlex
from pathlib import Path

import numpy as np

from tests.support import forked_commands
from tests.support.docs import PAGES, ROOT, module_commands, python_blocks, shell_lines

# Why a line that is no `python -m` is not run here.
NOT_RUN = {
    "make": "installs, or runs all tests",
    "pip": "downloads", "python3": "makes a virtual environment", "python3.11": "makes a virtual environment",
    "tensorboard": "a server; tests/training/test_tensorboard_log.py reads the event files",
    "source": "a shell's own; tests/commands/test_console.py",
    "cd": "belongs to docker", "docker": "no containers in tests; tests/serving has a stand-in for the server",
    "curl": "needs the server; tests/serving sends the same requests",
    "export": "several machines; tests/training runs several workers", "...": "stands for what is between",
    "--extensions=my_package.my_terms,my_package.my_protocol": "a flag alone; tests/commands/test_extensions.py",
}  # fmt: skip
# Pages whose commands are parsed here, and where the like of them is run; the others are walked through below.
RUN_ELSEWHERE = {
    "docs/ablation.md": "tests/commands/test_ablate.py",
    "docs/activitynet12.md": "the data are a download; tests/data_prep converts such folders",
    "docs/addons.md": "no command of ours",
    "docs/commands.md": "tests/commands/test_console.py; the others are README.md's",
    "docs/counting.md": "hours; tests/studies/test_counting_study.py",
    "docs/data.md": "tests/data_prep/test_convert.py, test_inspect.py",
    "docs/detection.md": "README.md's are the same",
    "docs/evaluation.md": "README.md's are the same; tests/commands/test_evaluate.py",
    "docs/export.md": "README.md's is the same; other formats: tests/saved_model/test_other_runtimes.py",
    "docs/extending.md": "tests/commands/test_extensions.py, tests/results/test_added_protocol.py",
    "docs/install.md": "no command of ours; tests/test_release.py installs the package",
    "docs/label-tools.md": "tests/data_prep/test_label_tools.py, tests/commands/test_detections_to.py",
    "docs/large-data.md": "tests/prediction/test_tasks.py, test_beam_inference.py, tests/engines",
    "docs/measurements.md": "hours, or the demo: tests/commands/test_commands.py",
    "docs/methods.md": "hours; tests/common/test_config.py, tests/model/test_method_heads.py",
    "docs/own-videos.md": "needs weights; tests/data_prep/test_extract.py, test_extraction_network.py",
    "docs/prediction.md": "tests/commands/test_commands.py, tests/prediction",
    "docs/refinement.md": "tests/refinement, tests/commands/test_refine.py",
    "docs/real-footage.md": "the clips are a download; tests/studies, tests/experiments",
    "docs/remote-storage.md": "needs a bucket; tests/commands/test_remote_storage.py has one of this machine",
    "docs/report.md": "README.md's is the same; tests/report",
    "docs/scale.md": "tests/studies/test_scale_model.py",
    "docs/serving.md": "needs the server; tests/serving",
    "docs/several-machines.md": "README.md's is the same; tests/training runs several workers and the page's scripts",
    "docs/thumos14.md": "the data are a download; tests/data_prep converts such folders",
    "docs/training.md": "README.md's is the same",
}  # fmt: skip
# In one process, since importing TensorFlow takes longer than everything else: each module's flags are defined, the
# commands parsed, and the flags taken away again.
PARSE = """
import ast, importlib, inspect, json, sys
from pathlib import Path
from absl import flags
from tc3net.terminal.command import run_main
from tc3net.common.extensions import define_extensions_flag
from tc3net.results.assessment import check_protocols
define_extensions_flag()
wrong = []
for name, commands in json.loads(sys.argv[1]).items():
    try:
        module = importlib.import_module(name if name != "tc3net.report" else "tc3net.report.__main__")
    except ModuleNotFoundError as error:
        wrong.append(f"{name}: {error}")
        continue
    calls = [n for n in ast.walk(ast.parse(inspect.getsource(module))) if isinstance(n, ast.Call)]
    (call,) = [n for n in calls if getattr(n.func, "id", "") == "run_main"]
    before = set(flags.FLAGS)
    getattr(module, call.args[1].id)()
    for arguments in commands:
        try:
            left = flags.FLAGS([name, *arguments])[1:]
            if left and not call.keywords:
                wrong.append(f"{name} {arguments}: positional {left}")
            for flag in ("protocols", "protocol"):
                if flag in flags.FLAGS:
                    value = flags.FLAGS[flag].value
                    check_protocols(value if isinstance(value, list) else [value])
        except (flags.Error, ValueError) as error:
            wrong.append(f"{name} {arguments}: {error}")
        flags.FLAGS.unparse_flags()
        for flag in set(flags.FLAGS):
            flags.FLAGS[flag].unparse()
    for flag in set(flags.FLAGS) - before:
        delattr(flags.FLAGS, flag)
print(json.dumps(wrong))
"""


def parsed(page_commands: list[list[str]]) -> list[str]:
    """What is wrong with commands: modules, flags or values that do not exist."""
    by_module: dict[str, list[list[str]]] = {}
    for module, *arguments in page_commands:
        # A flag file of the repository is read; one that a command before has written is not there.
        kept = [a for a in arguments if not a.startswith("--flagfile=") or (ROOT / a.partition("=")[2]).is_file()]
        kept = [a for a in kept if a not in ("--help", "--helpfull")]
        by_module.setdefault(module, []).append(kept)
    result = forked_commands.run(["-c", PARSE, json.dumps(by_module)])
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def test_every_documented_command_names_what_exists() -> None:
    commands = [command for page in PAGES for command in module_commands(page)]
    assert len(commands) > 70
    # What an extension defines is known where that is loaded: see RUN_ELSEWHERE.
    own = [command for command in commands if not any(word.startswith("--extensions=") for word in command)]
    assert parsed([[word for word in command if word != "..."] for command in own]) == []


def test_what_does_not_exist_is_found() -> None:
    wrong = parsed(
        [
            ["tc3net.trian", "--run_dir=x"],
            ["tc3net.train", "--run_dri=x"],
            ["tc3net.train", "--strategy=cloud"],
            ["tc3net.train", "--iterations=many"],
            ["tc3net.evaluate", "--protocols=coco"],
            ["tc3net.export", "RUN"],
            ["tc3net.export", "--run_dir=RUN"],
        ]
    )
    assert len(wrong) == 6, wrong


def test_every_line_is_parsed_or_has_a_reason() -> None:
    pages = {page for page in PAGES if shell_lines(page)}
    assert pages == {*RUN_ELSEWHERE, "README.md", "docs/own-data.md"}
    first = {line.split()[0] for page in PAGES for line in shell_lines(page)} - {"python", "tc3net"}
    assert first == set(NOT_RUN)
    other = [line for page in PAGES for line in shell_lines(page) if re.match(r"python (?!-m )", line)]
    assert other == []


def wrong_calls(code: str) -> list[str]:
    """Calls of ours whose arguments do not fit; ImportError or AttributeError where a name is not there."""
    tree, known, wrong = ast.parse(code), {}, []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in ("tc3net", "data_prep"):
            module = importlib.import_module(str(node.module))
            known |= {alias.asname or alias.name: getattr(module, alias.name) for alias in node.names}
    for node in ast.walk(tree):
        called = known.get(node.func.id) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else None
        if called is None or (isinstance(called, type) and issubclass(called, Exception)):  # those take anything
            continue
        given = {word.arg for word in node.keywords}
        if None not in given and not any(isinstance(argument, ast.Starred) for argument in node.args):
            try:
                inspect.signature(called).bind(*node.args, **dict.fromkeys(given))
            except TypeError as error:
                wrong.append(f"{ast.unparse(node)}: {error}")
    return wrong


def test_documented_python_calls_what_exists_as_it_is_defined() -> None:
    blocks = [block for page in PAGES for block in python_blocks(page)]
    assert len(blocks) > 10 and [found for block in blocks for found in wrong_calls(block)] == []
    (wrong,) = wrong_calls("from tc3net.data.schema import encode_request\nencode_request('a', rgb, flow)")
    assert "too many positional arguments" in wrong


def test_what_a_conversion_ends_with_is_shown_as_it_is_printed() -> None:
    """tests/data_prep/test_convert.py has the printed line."""
    pages = "\n".join((ROOT / page).read_text(encoding="utf-8") for page in PAGES)
    shown = re.findall(r"^.*: \d+ classes \(\d+ counted\), .*$", pages, flags=re.M)
    assert len(shown) >= 3
    for line in shown:
        assert re.search(r"counted\), streams \w+ \d+(, then \w+ \d+)*, float(16|32)$", line), line


def walk(folder: Path, page: str, added: dict[str, list[str]]) -> dict[str, str]:
    """Runs a page's commands one after the other in a folder; what each has printed.

    Args:
        folder: working directory.
        page: path from the top folder.
        added: by module: flags that make the data's size and the hours small.
    """
    (folder / "configs").symlink_to(ROOT / "configs")
    printed = {}
    for module, *arguments in module_commands(page):
        status, output = forked_commands.screen([module, *arguments, *added.get(module, [])], folder)
        assert status == 0, f"{module} {arguments}: {output}"
        printed[" ".join([module, *arguments])] = output
    return printed


SMALL = ["--num_train=14", "--num_test=6", "--num_classes=2", "--feature_dim=8", "--median_duration_s=30"]
SHORT = ["--iterations=1", "--eval_every=0", "--log_every=1", "--notensorboard", "--batch_size=2"]


def write_spreadsheet(folder: Path) -> None:
    """annotations.csv of the simulated videos in folder/raw."""
    videos = json.loads((folder / "raw" / "annotations.json").read_text())["database"]
    with (folder / "annotations.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["video", "start_s", "end_s", "class", "subset"])
        for video, entry in videos.items():
            table.writerows([video, *a["segment"], a["label"], entry["subset"]] for a in entry["annotations"])


def test_readme_from_its_first_command_to_its_last(tmp_path: Path) -> None:
    assert forked_commands.screen(["data_prep.synthetic", "--output_dir=raw", *SMALL], tmp_path)[0] == 0
    write_spreadsheet(tmp_path)
    (tmp_path / "raw" / "features").rename(tmp_path / "features")
    videos = json.loads((tmp_path / "raw" / "annotations.json").read_text())["database"]
    theirs = {v: [{**a, "score": 0.5} for a in e["annotations"]] for v, e in videos.items() if e["subset"] == "test"}
    (tmp_path / "theirs.json").write_text(json.dumps({"results": theirs}))
    for stream in ("rgb", "flow"):
        (tmp_path / "new" / stream).mkdir(parents=True)
        for name in ("a", "b"):
            np.save(tmp_path / "new" / stream / f"{name}.npy", np.ones((9, 8), np.float32))
    walk(tmp_path, "README.md", {"tc3net.train": SHORT, "tc3net.tune": ["--budget=3"]})
    for left in (
        "report", "dataset/dataset.json", "runs/first/best", "runs/first/evaluation/analysis", "tuned/detection.cfg",
        "runs/first/evaluation/report.html", "predictions/b.png", "models/tc3net/1/saved_model.pb",
    ):  # fmt: skip
        # The analysis was of the evaluation before the tuned one, which did not ask for it.
        assert (tmp_path / left).exists() == ("analysis" not in left), left


def test_own_data_from_its_first_command_to_its_last(tmp_path: Path) -> None:
    """With the page's Python between its commands, and what it says to do where there are no times."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    added = {"data_prep.synthetic": SMALL, "tc3net.train": SHORT}
    text = (ROOT / "docs" / "own-data.md").read_text(encoding="utf-8")
    advice = ""
    for language, code in re.findall(r"^```(sh|python)\n(.*?)^```", text, flags=re.M | re.S):
        lines = [shlex.split(line)[2:] for line in code.replace("\\\n", " ").splitlines()] if language == "sh" else []
        for step in lines or [["-c", code]]:
            if "--run_dir=run" in step:
                continue  # with times, it is what README.md says
            status, output = forked_commands.screen([*step, *added.get(step[0], [])], tmp_path)
            assert status == 0, f"{step}: {output}"
            advice = output if step[0] == "tc3net.train" else advice
    assert (tmp_path / "predicted_counts" / "detections.json").is_file()
    # Training without times ends with advice that works: classes are evaluated, and a report can be written.
    (following,) = re.findall(r"^Finished. Evaluate with: python -m (.*)$", advice, flags=re.M)
    status, output = forked_commands.screen(following.split(), tmp_path)
    assert (status, "Classification mAP" in output) == (0, True), output
    metrics = json.loads((tmp_path / "run_counts" / "evaluation-validation" / "metrics.json").read_text())
    assert (metrics["subset"], metrics["localization"]) == ("validation", {})
    assert 0 <= metrics["classification"]["map_fraction"] <= 1
    status, output = forked_commands.screen(["tc3net.report", "run_counts"], tmp_path)
    assert (status, "evaluation-validation/report.html" in output) == (0, True), output
    page = (tmp_path / "run_counts" / "evaluation-validation" / "report.html").read_text()
    assert "No instances with times are annotated in these videos. Classification mAP" in page
