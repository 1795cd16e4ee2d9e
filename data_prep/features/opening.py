"""Puts a reader on the streams of a data set, once it is known where their arrays lie."""

from __future__ import annotations

from collections.abc import Sequence

from data_prep.features import ArraySource
from data_prep.features.arrangements import Streams
from data_prep.features.axes import decide_axes
from data_prep.features.choices import FeatureChoices
from data_prep.features.readers import CHANNEL_ORDERS, JointReader, SeparateReader
from tc3net.common.errors import UserError

# Videos whose shapes are looked at to find out the order of the axes.
_SHAPES_SEEN = 200


def make_reader(streams: Streams, choices: FeatureChoices, where: str) -> tuple[SeparateReader | JointReader, str]:
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
        if choices.cut_streams:
            raise UserError(
                f"{where}: --cut_streams found, but both streams lie in one array ({streams.words}); expected it for "
                "streams in arrays of their own. Drop the flag."
            )
        words = ", ".join([streams.words, choices.channel_order.replace("_", " "), *added])
        return JointReader(streams.joint, axes, choices.channel_order), words
    if choices.channel_order != CHANNEL_ORDERS[0]:
        raise UserError(
            f"{where}: --channel_order={choices.channel_order} found, but rgb and flow are separate ({streams.words}); "
            "expected it for joint arrays only. Drop the flag."
        )
    assert streams.rgb is not None and streams.flow is not None
    reader = SeparateReader(streams.rgb, streams.flow, axes, choices.cut_streams)
    return reader, ", ".join([streams.words, *added, *([reader.describe_cuts()] if choices.cut_streams else [])])


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
