"""What a user can say about features that do not speak for themselves, and the layouts that there are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from data_prep.features.arrangements import ARRANGEMENTS, Arrangement
from data_prep.features.axes import AXES
from data_prep.features.containers import CONTAINERS
from data_prep.features.kinds.container import Container
from data_prep.features.readers import CHANNEL_ORDERS, MISSING
from tc3net.common.errors import UserError
from tc3net.data.streams import RGB_FLOW, check_names

AUTO = "auto"


@dataclass(frozen=True)
class Layout:
    """A kind of file in an arrangement."""

    container: Container
    arrangement: Arrangement

    @property
    def name(self) -> str:
        """As `--feature_layout` takes it."""
        return f"{self.container.name}_{self.arrangement.name}"

    @property
    def words(self) -> str:
        """As the screen says it."""
        return f"{self.arrangement.words}, {self.container.name}"


ALL = tuple(
    Layout(container, arrangement)
    for container in CONTAINERS
    for arrangement in ARRANGEMENTS
    if container.names_arrays or not arrangement.needs_names
)
LAYOUTS = (AUTO, *(layout.name for layout in ALL))


@dataclass(frozen=True)
class FeatureChoices:
    """What a user can say about features that do not speak for themselves.

    Attributes:
        flow_features: folder or file of the flow stream, where the features' path holds rgb only.
        layout: one of `LAYOUTS`.
        channel_order: one of `CHANNEL_ORDERS`, for joint arrays.
        axes: one of `AXES`, for 3-D arrays.
        key: name of the array in files of several; or one of each stream, separated by commas.
        cut_streams: whether streams that differ by up to two rows are cut to the shortest one.
        streams: (name, size or None where nobody said it) of each stream, in the order of an array with all of them.
        missing_stream: what becomes of a video without one of its streams, one of `MISSING`.
        sizes_from: who says the sizes, and what to do where they differ, for messages.
    """

    flow_features: str | Path | None = None
    layout: str = AUTO
    channel_order: str = CHANNEL_ORDERS[0]
    axes: str = AXES[0]
    key: str | None = None
    cut_streams: bool = False
    streams: tuple[tuple[str, int | None], ...] = tuple((name, None) for name in RGB_FLOW)
    missing_stream: str = MISSING[0]
    sizes_from: str = "--streams says so. Correct it, or extract the features again."

    def __post_init__(self) -> None:
        for flag, value, allowed in (
            ("feature_layout", self.layout, LAYOUTS),
            ("channel_order", self.channel_order, CHANNEL_ORDERS),
            ("feature_axes", self.axes, AXES),
            ("missing_stream", self.missing_stream, MISSING),
        ):
            if value not in allowed:
                raise UserError(f"{flag} is {value!r}; expected one of {', '.join(allowed)}. Set --{flag}.")
        if len(self.keys) not in (0, 1, len(self.streams)) or not all(self.keys):
            raise UserError(
                f"feature_key is {self.key!r}; expected the name of an array, or one for each of "
                f"{', '.join(self.names)}, with commas. Set --feature_key."
            )
        check_names(self.names)
        if self.names != RGB_FLOW and (self.flow_features is not None or self.channel_order != CHANNEL_ORDERS[0]):
            raise UserError(
                f"--streams={','.join(self.names)} found with --flow_features or --channel_order; expected those "
                "for --streams=rgb,flow alone. Put each stream into a folder of its name, or name them in their order."
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Of the streams, in order."""
        return tuple(name for name, _ in self.streams)

    @property
    def keys(self) -> tuple[str, ...]:
        """`key` as a tuple: nothing, one name, or one of each stream."""
        return () if self.key is None else tuple(name.strip() for name in self.key.split(","))
