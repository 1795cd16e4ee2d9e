"""Puts a reader on the streams of a data set, once it is known where their arrays lie."""

from __future__ import annotations

from collections.abc import Sequence

from data_prep.features import ArraySource
from data_prep.features.arrangements import Found
from data_prep.features.axes import decide_axes
from data_prep.features.choices import FeatureChoices
from data_prep.features.readers import CHANNEL_ORDERS, JointReader, SeparateReader, Sizes
from tc3net.common.errors import UserError

# Videos whose shapes are looked at to find out the order of the axes.
_SHAPES_SEEN = 200


def make_reader(streams: Found, choices: FeatureChoices, where: str) -> tuple[SeparateReader | JointReader, str]:
    """A reader of the streams, and the layout in words.

    Args:
        streams: where the arrays lie.
        choices: the order of axes and channels, and whether streams are cut.
        where: names the features, for messages.

    Raises:
        UserError: the order of the axes is not clear, or a choice has no meaning for these streams.
    """
    axes = decide_axes(_some_shapes(streams.sources()), choices.axes, where)
    notes = dict.fromkeys(note for source in streams.sources() for note in source.notes)
    added = [*filter(None, [axes.describe()]), *notes]
    if streams.joint is not None:
        if choices.cut_streams and len(choices.streams) > 1:
            raise UserError(
                f"{where}: --cut_streams found, but all streams lie in one array ({streams.words}); expected it for "
                "streams in arrays of their own. Drop the flag."
            )
        sizes = Sizes(choices.streams, choices.sizes_from)
        reader = JointReader(streams.joint, axes, choices.channel_order, sizes)
        return reader, ", ".join([streams.words, *reader.describe(), *added])
    if choices.channel_order != CHANNEL_ORDERS[0]:
        raise UserError(
            f"{where}: --channel_order={choices.channel_order} found, but the streams are separate ({streams.words}); "
            "expected it for joint arrays only. Drop the flag."
        )
    apart = SeparateReader(
        {name: streams.apart[name] for name in choices.names},
        axes,
        cut=choices.cut_streams,
        zero_missing=choices.missing_stream == "zero",
        sizes=Sizes(choices.streams, choices.sizes_from),
    )
    return apart, ", ".join([streams.words, *added, *apart.describe()])


def _some_shapes(sources: Sequence[ArraySource]) -> list[tuple[int, ...]]:
    """Shapes of videos from everywhere in the data set; what is damaged is left for the validation to report."""
    shapes = []
    for source in sources:
        names = source.names()
        for name in names[:: max(1, len(names) // _SHAPES_SEEN)]:
            try:
                shapes.append(source.shape(name))
            except UserError:
                continue
    return shapes
