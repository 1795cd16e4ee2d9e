"""What a localization protocol is, as data, and the one table of them.

The same detections score several points apart under different protocols (segment grid or seconds, who chooses whom,
which average precision), so a result always carries the name of the protocol that produced it. Whatever else depends on
the protocol (thresholds, averages, what selects a checkpoint, what a summary shows) is read from its entry here; no
other module tests names. Adding one: its rule in `rules.py` (or one that is there) and its entry, or `add_protocol` in
a module of your own, see docs/extending.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from tc3net.common.errors import UserError
from tc3net.common.names import nearest
from tc3net.data.timebase import TimeBase
from tc3net.evaluation.rules import Decisions, match_activitynet, match_reference, match_thumos14_kit
from tc3net.intervals.columns import Detections, GroundTruth

# (ground truth, detections, [t] thresholds, segment grid) -> decisions; see `rules.py` for what is checked before.
Rule = Callable[[GroundTruth, Detections, "np.ndarray", TimeBase], Decisions]

Edges = dict[str, tuple[float, ...]]

# DETAD's bucket edges (Alwassel et al., ECCV 2018): seconds, share of the video's duration, number of instances.
THUMOS14_EDGES: Edges = {"length": (3, 6, 12, 18), "coverage": (0.02, 0.04, 0.06, 0.08), "instances": (1, 40, 80)}
ACTIVITYNET_EDGES: Edges = {"length": (30, 60, 120, 180), "coverage": (0.2, 0.4, 0.6, 0.8), "instances": (1, 4, 8)}

# File names, tags and tables carry the name; beside it comparison.json and the scalars have entries of these names.
_NAME, _TAKEN = re.compile(r"[A-Za-z0-9_.-]+"), ("classification", "first", "second")


@dataclass(frozen=True)
class Protocol:
    """How localization is scored. Thresholds are tIoUs in (0, 1].

    Attributes:
        name: as flags, tables and files write it: letters, digits, "_", "." and "-".
        match: the rule that decides which detection finds which instance, at all thresholds together.
        tious: the thresholds.
        main_tiou: the one of them that summaries, pictures, AP per class and the tuning of detection are about.
        averages: thresholds of each average of the mAP, by name; the last one is the main one, which summaries show.
        average_selects: the main average chooses a checkpoint and ranks variants, not the mAP at `main_tiou`.
        brief_tious: thresholds of narrow tables; none: all.
        interpolated: which average precision, `interpolated_average_precision` or `mean_precision_at_hits`.
        annotated_videos_only: videos without instances are not scored.
        needs_grid: `match` reads the segment grid, so that all videos must have the same one.
        edges: upper edges of all but the last bucket of the sensitivity analysis, 3 or 4 of each characteristic:
            "length" in seconds, "coverage" as a share of the video, "instances" of the class in the video.
        version: counts what the name has stood for; files hold it beside the name, and where they do not, it is 1.

    Raises:
        UserError: the parts do not fit together.
    """

    name: str
    match: Rule
    tious: tuple[float, ...]
    main_tiou: float
    averages: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    average_selects: bool = False
    brief_tious: tuple[float, ...] = ()
    interpolated: bool = True
    annotated_videos_only: bool = False
    needs_grid: bool = False
    edges: Mapping[str, tuple[float, ...]] = field(default_factory=THUMOS14_EDGES.copy)
    version: int = 1

    def __post_init__(self) -> None:
        if not self.tious or not all(0 < tiou <= 1 for tiou in self.tious):
            raise UserError(
                f"tIoU thresholds are {list(self.tious)}; expected at least one, all in (0, 1]. Correct them."
            )
        if self.version < 1:
            raise UserError(f"Protocol {self.name}: version {self.version}; expected 1 or more. Correct it.")
        if not _NAME.fullmatch(self.name) or self.name in _TAKEN:
            raise UserError(
                f"A protocol is named {self.name!r}; expected letters, digits, '_', '.' and '-', and none of "
                f"{', '.join(_TAKEN)}. Choose another name."
            )
        parts = {"main_tiou": (self.main_tiou,), "brief_tious": self.brief_tious, **self.averages}
        for part, wanted in parts.items():
            if _rows(wanted, self.tious) is None or (part in self.averages and not wanted):
                raise UserError(
                    f"Protocol {self.name}: {part} needs the thresholds {list(wanted)}; expected some of its own, "
                    f"{list(self.tious)}. Add what is missing to `tious`."
                )
        if self.average_selects and not self.averages:
            raise UserError(f"Protocol {self.name}: average_selects without averages. Name at least one average.")
        wrong = set(THUMOS14_EDGES) ^ set(self.edges) or [
            name for name, edges in self.edges.items() if len(edges) not in (3, 4) or list(edges) != sorted(set(edges))
        ]
        if wrong:
            raise UserError(
                f"Protocol {self.name}: edges of {', '.join(sorted(wrong))}; expected 3 or 4 rising numbers for each "
                f"of {', '.join(THUMOS14_EDGES)}, as in THUMOS14_EDGES."
            )

    def at(self, tious: Sequence[float]) -> Protocol:
        """The protocol at other thresholds: averages that miss one are dropped, the nearest is the main one."""
        given = tuple(float(tiou) for tiou in tious)
        kept = {name: wanted for name, wanted in self.averages.items() if _rows(wanted, given) is not None}
        return replace(
            self,
            tious=given,
            main_tiou=given[self.main_row(given)] if given else self.main_tiou,
            averages=kept,
            average_selects=self.average_selects and bool(kept),
            brief_tious=tuple(tiou for tiou in self.brief_tious if _rows((tiou,), given) is not None),
        )

    @property
    def signature(self) -> str:
        """Name and version for files that tell runs apart: "thumos14 (version 2)"; of version 1 the name alone."""
        return self.name if self.version == 1 else f"{self.name} (version {self.version})"

    def main_row(self, tious: Sequence[float]) -> int:
        """Position of the threshold that is nearest to the main one.

        Args:
            tious: of a result under this protocol, its own or others.
        """
        return int(np.abs(np.asarray(tious) - self.main_tiou).argmin())

    def average_rows(self, tious: Sequence[float]) -> dict[str, np.ndarray]:
        """Positions of the thresholds of each average, by name, where all of them are there.

        Args:
            tious: of a result under this protocol, its own or others.
        """
        found = {name: _rows(wanted, tious) for name, wanted in self.averages.items()}
        return {name: np.asarray(rows, np.int64) for name, rows in found.items() if rows is not None}

    @property
    def main_average(self) -> str | None:
        """Name of the average that summaries show; None where the protocol has none."""
        return list(self.averages)[-1] if self.averages else None

    @property
    def selecting(self) -> float | str:
        """What chooses a checkpoint and ranks variants: the mAP at this threshold, or the average of this name."""
        return (self.main_average if self.average_selects else None) or self.main_tiou


def _rows(wanted: Sequence[float], tious: Sequence[float]) -> list[int] | None:
    """Positions in `tious` of the wanted thresholds; None unless all are there."""
    near = [[row for row, tiou in enumerate(tious) if abs(tiou - one) <= 1e-9] for one in wanted]
    return [rows[0] for rows in near] if all(near) else None


# Not multiples of 0.1, because 3 * 0.1 is not 0.3 and tIoUs of whole segments lie exactly on such thresholds.
_THUMOS_TIOUS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
# What NumPy's linspace gives the toolkit.
_ACTIVITYNET_TIOUS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.8999999999999999, 0.95)
_THUMOS_AVERAGES = {"0.1:0.5": _THUMOS_TIOUS[:5], "0.3:0.7": _THUMOS_TIOUS[2:], "0.1:0.7": _THUMOS_TIOUS}

PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        # The public 3C-Net code.
        Protocol(
            name="reference",
            match=match_reference,
            tious=_THUMOS_TIOUS,
            main_tiou=0.5,
            averages=_THUMOS_AVERAGES,
            brief_tious=_THUMOS_TIOUS[::2],
            annotated_videos_only=True,
            needs_grid=True,
        ),
        # What the field reports on THUMOS14 since about 2019: the ActivityNet toolkit at lower thresholds.
        Protocol(
            name="thumos14",
            match=match_activitynet,
            tious=_THUMOS_TIOUS,
            main_tiou=0.5,
            averages=_THUMOS_AVERAGES,
            brief_tious=_THUMOS_TIOUS[::2],
            version=2,
        ),
        # The THUMOS14 evaluation kit of 2015.
        Protocol(
            name="thumos14_kit",
            match=match_thumos14_kit,
            tious=_THUMOS_TIOUS,
            main_tiou=0.5,
            averages=_THUMOS_AVERAGES,
            brief_tious=_THUMOS_TIOUS[::2],
            interpolated=False,
        ),
        # The ActivityNet toolkit.
        Protocol(
            name="activitynet",
            match=match_activitynet,
            tious=_ACTIVITYNET_TIOUS,
            main_tiou=0.5,
            averages={"0.5:0.95": _ACTIVITYNET_TIOUS},
            average_selects=True,  # as in the public 3C-Net code
            brief_tious=(0.5, 0.75, 0.95),
            edges=ACTIVITYNET_EDGES,
        ),
    )
}
DEFAULT_PROTOCOL = "thumos14"
# What an earlier version of a name stood for, and is called now.
_NAMED_ANEW = {("thumos14", 1): "thumos14_kit"}


def add_protocol(protocol: Protocol) -> None:
    """Makes a protocol known to every flag, table, chart and selection.

    Raises:
        UserError: there is one of that name.
    """
    if protocol.name in PROTOCOLS:
        raise UserError(
            f"There is a protocol {protocol.name!r} already; expected a name other than {', '.join(PROTOCOLS)}, so "
            "that numbers say what produced them. Choose another name."
        )
    PROTOCOLS[protocol.name] = protocol


def find_protocol(protocol: str | Protocol) -> Protocol:
    """The protocol of that name; a protocol itself is handed back.

    Raises:
        UserError: unknown name.
    """
    if isinstance(protocol, Protocol):
        return protocol
    if protocol not in PROTOCOLS:
        raise UserError(
            f"Protocol {protocol!r} is unknown; expected one of {', '.join(PROTOCOLS)}. Choose one of them, or name "
            f"the module that adds it with --extensions.{nearest(protocol, PROTOCOLS)}"
        )
    return PROTOCOLS[protocol]


def recorded_protocol(name: str, version: int = 1) -> Protocol:
    """The protocol that a file means by a name and a version, as it is called now.

    Args:
        name: as the file has it.
        version: likewise; 1 where the file has none.

    Raises:
        UserError: unknown name, or a version of it that is not here.
    """
    found = find_protocol(_NAMED_ANEW.get((name, version), name))
    if (name, version) not in _NAMED_ANEW and found.version != version:
        raise UserError(
            f"Protocol {name} of version {version} is asked for; expected version {found.version}, which is the one "
            "here. Evaluate again, or use the tc3net that wrote the file."
        )
    return found


def recorded_signature(signature: str) -> str:
    """What `Protocol.signature` would be now of the protocol that a file names so; others are handed back."""
    return _NAMED_ANEW.get((signature, 1), signature)
