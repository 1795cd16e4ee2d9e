"""The scripts of docs/several-machines.md give every worker the TF_CONFIG that training expects, and start it again.

Slurm, Kubernetes and ssh are stand-ins: programs of these names that run on this machine.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import textwrap
from pathlib import Path

import pytest

from tc3net.training.strategies import read_tf_config
from tests.support.docs import code_blocks

# Writes what it was given; its status is that of its index in the file of this attempt, or 0.
PYTHON = """#!/bin/bash
folder=$(dirname "$0")
index=$(echo "$TF_CONFIG" | sed -E 's/.*"index": ([0-9]+).*/\\1/')
attempt=$(ls "$folder" | grep -c "^started-$index-")
printf '%s\\n' "$TF_CONFIG" "$*" > "$folder/started-$index-$attempt"
exit $(cat "$folder/status-$index-$attempt" 2>/dev/null || echo 0)
"""
SSH = '#!/bin/bash\n[ "$1" = -n ] && shift\necho "$1" >> "$(dirname "$0")/reached"\nexec bash -c "$2"\n'
SCONTROL = """#!/bin/bash
case "$1 $2" in
"show hostnames") printf '%s\\n' node1 node2 node3 ;;
"requeue 71234") touch "$(dirname "$0")/requeued" ;;
*) exit 9 ;;
esac
"""
SRUN = """#!/bin/bash
worst=0
[[ $1 == --kill-on-bad-exit=0 ]] && shift
for index in 0 1 2; do
    SLURM_PROCID=$index "$@"; status=$?
    (( status > worst )) && worst=$status
done
exit $worst
"""


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder of stand-ins that comes first in PATH; what they write stands beside them."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in {"python": PYTHON, "ssh": SSH, "scontrol": SCONTROL, "srun": SRUN}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


def run(programs: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = f"{programs}:{os.environ['PATH']}"
    return subprocess.run(command, env={**os.environ, "PATH": path, **environment}, capture_output=True, text=True)


def started(programs: Path, attempt: int = 0) -> tuple[list[list[str]], list[str]]:
    """Of the workers of an attempt: the hosts that each was told, which must be its own task's; and their arguments."""
    hosts, arguments = [], []
    for index, path in enumerate(sorted(programs.glob(f"started-*-{attempt}"))):
        config, line = path.read_text().splitlines()
        assert read_tf_config(config) == {"worker": len(json.loads(config)["cluster"]["worker"])}
        assert json.loads(config)["task"] == {"type": "worker", "index": index}
        hosts.append(json.loads(config)["cluster"]["worker"])
        arguments.append(line)
    return hosts, arguments


def script(section: str, tmp_path: Path) -> str:
    (text,) = code_blocks("several-machines.md", section, "bash")
    path = tmp_path / "script.sh"
    path.write_text(text)
    return str(path)


def test_ssh(programs: Path, tmp_path: Path) -> None:
    """The second attempt follows a worker that was killed; an error is the end."""
    (programs / "status-0-0").write_text("1")
    (programs / "status-1-0").write_text("137")
    (programs / "status-0-1").write_text("1")
    flags = ["--run_dir=my runs/a", "--dataset_dir=data"]
    done = run(programs, "bash", script("Plain ssh", tmp_path), "host0:2222 host1:2223", *flags)
    assert done.returncode == 1, done.stderr
    assert "Attempt 1 ended with status 137" in done.stderr and "Attempt 2" not in done.stderr
    for attempt in (0, 1):
        hosts, arguments = started(programs, attempt)
        assert hosts == [["host0:2222", "host1:2223"]] * 2
        assert arguments == [" ".join(["-m tc3net.train --strategy=multi_worker", *flags])] * 2
    assert started(programs, 2) == ([], [])
    assert sorted((programs / "reached").read_text().split()) == ["host0"] * 2 + ["host1"] * 2


@pytest.mark.parametrize(
    ("status", "restarts", "requeued"),
    [(0, 0, False), (1, 0, False), (143, 0, True), (137, 19, True), (143, 20, False)],
)
def test_slurm(programs: Path, tmp_path: Path, status: int, restarts: int, requeued: bool) -> None:
    (programs / "status-1-0").write_text(str(status))
    slurm = {"SLURM_JOB_ID": "71234", "SLURM_JOB_NODELIST": "node[1-3]", "SLURM_RESTART_COUNT": str(restarts)}
    done = run(programs, "bash", script("Slurm", tmp_path), **slurm)
    assert done.returncode == status, done.stderr
    hosts, arguments = started(programs)
    assert hosts == [["node1:21234", "node2:21234", "node3:21234"]] * 3
    assert len(set(arguments)) == 1 and arguments[0].startswith("-m tc3net.train --strategy=multi_worker --flagfile=")
    assert (programs / "requeued").exists() == requeued


def test_kubernetes(programs: Path) -> None:
    (manifest,) = code_blocks("several-machines.md", "Kubernetes", "yaml")
    found = re.search(r"- bash\n +- -c\n +- \|\n(.*?)\n +- train\n(.*?)\n +resources:", manifest, flags=re.S)
    assert found
    command, flags = textwrap.dedent(found[1]), [line.strip().removeprefix("- ") for line in found[2].splitlines()]
    for index in "0123":
        done = run(programs, "bash", "-c", command, "train", *flags, WORKERS="4", JOB_COMPLETION_INDEX=index)
        assert done.returncode == 0, done.stderr
    hosts, arguments = started(programs)
    assert hosts == [[f"tc3net-{i}.tc3net:2222" for i in range(4)]] * 4
    assert arguments == [" ".join(["-m tc3net.train --strategy=multi_worker", *flags])] * 4
    # One number in three places, and names that the Service gives.
    assert set(re.findall(r'(?:completions|parallelism|WORKERS, value): "?(\d+)', manifest)) == {"4"}
    assert set(re.findall(r"\n(?:  name|      subdomain|    job-name): (\S+)", manifest)) == {"tc3net"}
