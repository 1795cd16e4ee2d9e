"""One default protocol in every command, and the shipped configs' own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tc3net.evaluation import DEFAULT_PROTOCOL, PROTOCOLS
from tests.support import forked_commands

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("command", "flag"),
    [("train", "protocols"), ("evaluate", "protocols"), ("tune", "protocol"), ("ablate", "protocol")],
)
def test_every_command_has_the_same_default(command: str, flag: str) -> None:
    _, screen = forked_commands.screen((f"tc3net.{command}", "--helpfull"), ROOT)
    (default,) = re.findall(rf"^ *--{flag}=(\S+)$", screen, re.MULTILINE)
    assert default == DEFAULT_PROTOCOL


def protocols_of(config: Path) -> list[str]:
    """What a flagfile says of --protocols, by itself or through others; the last word counts."""
    found: list[str] = []
    for line in config.read_text(encoding="utf-8").splitlines():
        flag, _, value = line.partition("=")
        if flag == "--flagfile":
            found = protocols_of(ROOT / value) or found
        elif flag == "--protocols":
            found = value.split(",")
    return found


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("thumos14", ["reference", "thumos14"]),
        ("thumos14_reference", ["reference", "thumos14"]),
        ("thumos14_counting", ["reference", "thumos14"]),
        ("activitynet12", ["activitynet", "reference"]),
        ("ablation", ["thumos14"]),
        ("demo", ["thumos14", "reference"]),
    ],
)
def test_configs_that_are_runs_say_what_they_are_scored_under(config: str, expected: list[str]) -> None:
    assert protocols_of(ROOT / "configs" / f"{config}.cfg") == expected
    assert set(expected) <= set(PROTOCOLS)
