"""`--help`: what a command does, an example, the flags that everybody needs, and the others by group.

The groups are in the order in which a user thinks. A flag that is a field of a config belongs into the group of the
package that declares the config; one that a command defines itself is listed here by name.
"""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from absl import flags

from tc3net.common.config import declared_in
from tc3net.terminal.console import COMMANDS, typed_as

# Title -> packages whose configs belong there, flags that commands define themselves.
GROUPS: dict[str, tuple[tuple[str, ...], str]] = {
    "data": (
        ("tc3net.data", "tc3net.results.video_lists", "tc3net.prediction.feature_files", "tc3net.runs.scoring"),
        "annotations annotation_format features flow_features feature_layout channel_order feature_axes feature_key "
        "cut_streams streams missing_stream fps frames_per_segment stride_frames rescaled_rows time_base_file videos "
        "class_list subset subsets train_subset test_subset dataset_dir name rgb flow duration_s num_train num_test "
        "num_classes feature_dim median_duration_s layout counted_classes skip_bad_videos keep_late_instances scores "
        "detections compare test_set_meta short_side crops",
    ),
    "model": (("tc3net.model", "tc3net.runs.folder"), "run_dir network from backbone random_weights cache_dir"),
    "losses": (("tc3net.losses",), ""),
    "optimization": (
        ("tc3net.optimization", "tc3net.training.trainer", "tc3net.training.selection"),
        "seeds variants seed budget objective",
    ),
    "detection": (("tc3net.detection",), ""),
    "evaluation": (
        ("tc3net.results", "tc3net.evaluation"),
        "protocols protocol tious bootstrap bootstrap_seed confidence analysis",
    ),
    "output": (
        ("tc3net.training.tensorboard_log",),
        "output_dir output export_dir model_name max_detections report embed_videos classes_per_video keep_streams "
        "json videos_per_shard feature_dtype",
    ),
    "running": (
        ("tc3net.saved_model", "tc3net.serving", "tc3net.prediction.follow"),
        "task_index num_tasks merge follow num_workers flow_workers flow_warps batch_size beam_option health flagfile "
        "extensions verbosity",
    ),
}
_EXTRA = "further"
# Of absl's own flags, those that are told.
_OF_ABSL = {
    "flagfile": "File with one --flag=value a line; the name alone of one that tc3net is shipped with is enough.",
    "verbosity": "0 shows what TensorFlow says of itself, too.",
}


@dataclass(frozen=True)
class Told:
    """A flag as it is told."""

    name: str
    default: str
    text: str
    values: tuple[str, ...]

    @property
    def written(self) -> str:
        """`--name=` with the default, or what it can be."""
        return f"--{self.name}" if self.default == "false" else f"--[no]{self.name}" if self.default == "true" else (
            f"--{self.name}={'|'.join(self.values) if self.values else self.default}"
        )  # fmt: skip


def own_flags(values: flags.FlagValues = flags.FLAGS) -> dict[str, Told]:
    """The flags of the command that runs, by name; without those of its libraries."""
    key = {flag.name for flag in values.get_key_flags_for_module(sys.argv[0])}
    key |= {flag.name for module in _modules(values) for flag in values.flags_by_module_dict()[module]}
    told = {}
    for name in sorted(key | set(_OF_ABSL)):
        if name not in values:  # absl knows --flagfile by itself
            told[name] = Told(name, "", _OF_ABSL[name], ())
            continue
        flag = values[name]
        default = "" if flag.default is None else flag.default_as_str.strip("'")
        known = getattr(flag.parser, "enum_values", None) or ()
        told[name] = Told(name, default, _OF_ABSL.get(name, flag.help or ""), tuple(known))
    return told


def _modules(values: flags.FlagValues) -> list[str]:
    ours = ("tc3net", "data_prep")
    return [module for module in values.flags_by_module_dict() if module.partition(".")[0] in ours]


def group_of(name: str) -> str:
    """The group that a flag is told in."""
    module = declared_in(name)
    for title, (packages, names) in GROUPS.items():
        if name in names.split() or any(module == package or module.startswith(f"{package}.") for package in packages):
            return title
    return _EXTRA


def grouped(told: dict[str, Told]) -> dict[str, list[Told]]:
    """Group -> its flags, in the order of `GROUPS`; groups without flags are left out."""
    found: dict[str, list[Told]] = {title: [] for title in (*GROUPS, _EXTRA)}
    for flag in told.values():
        found[group_of(flag.name)].append(flag)
    return {title: members for title, members in found.items() if members}


def help_text(module: str, doc: str, *, full: bool, values: flags.FlagValues = flags.FLAGS) -> str:
    """What `--help` prints.

    Args:
        module: of the command.
        doc: its docstring.
        full: whether every flag is explained (`--helpfull`).
        values: with its flags defined.
    """
    width = min(shutil.get_terminal_size((100, 24)).columns, 120)
    name, told = typed_as(module), own_flags(values)
    first = [told[flag] for flag in (COMMANDS[name].first if name in COMMANDS else tuple(told)[:5]) if flag in told]
    parts = [doc.strip()]
    groups = grouped(told)
    if not full:
        parts.append("Most needed:\n" + "\n".join(_explained(flag, width) for flag in first))
        others = {title: [flag.name for flag in members if flag not in first] for title, members in groups.items()}
        lines = [_listed(title, names, width) for title, names in others.items() if names]
        parts.append("\n".join(["Others (--helpfull explains them):", *lines]))
    else:
        parts += [
            f"{title.capitalize()}:\n"
            + "\n".join(_explained(flag, width) for flag in _first_ones_first(members, first))
            for title, members in groups.items()
        ]
    return "\n\n".join(parts)


def _first_ones_first(members: Sequence[Told], first: Sequence[Told]) -> list[Told]:
    return [flag for flag in first if flag in members] + [flag for flag in members if flag not in first]


def _explained(flag: Told, width: int) -> str:
    text = f"{flag.text} Default: {flag.default}." if flag.values and flag.default else flag.text
    indent = " " * 6
    return f"  {flag.written}\n" + textwrap.fill(text, width, initial_indent=indent, subsequent_indent=indent)


def _listed(title: str, names: Sequence[str], width: int) -> str:
    return textwrap.fill(
        " ".join(names), width, initial_indent=f"  {title:<13}", subsequent_indent=" " * 15, break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
