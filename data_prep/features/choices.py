"""What a user can say about features that do not speak for themselves, and the layouts that there are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from data_prep.features.arrangements import ARRANGEMENTS, Arrangement
from data_prep.features.axes import AXES
from data_prep.features.containers import CONTAINERS
from data_prep.features.kinds.container import Container
from data_prep.features.listing import STREAMS
from data_prep.features.readers import CHANNEL_ORDERS
from tc3net.common.errors import UserError

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
        key: name of the array in files of several; or rgb's and flow's, separated by a comma.
        cut_streams: whether streams that differ by up to two rows are cut to the shorter one.
    """

    flow_features: str | Path | None = None
    layout: str = AUTO
    channel_order: str = CHANNEL_ORDERS[0]
    axes: str = AXES[0]
    key: str | None = None
    cut_streams: bool = False

    def __post_init__(self) -> None:
        for flag, value, allowed in (
            ("feature_layout", self.layout, LAYOUTS),
            ("channel_order", self.channel_order, CHANNEL_ORDERS),
            ("feature_axes", self.axes, AXES),
        ):
            if value not in allowed:
                raise UserError(f"{flag} is {value!r}; expected one of {', '.join(allowed)}. Set --{flag}.")
        if len(self.keys) > len(STREAMS) or not all(self.keys):
            raise UserError(
                f"feature_key is {self.key!r}; expected the name of an array, or rgb's and flow's with a comma. "
                "Set --feature_key."
            )

    @property
    def keys(self) -> tuple[str, ...]:
        """`key` as a tuple: nothing, one name, or rgb's and flow's."""
        return () if self.key is None else tuple(name.strip() for name in self.key.split(","))
