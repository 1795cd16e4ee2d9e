"""Opens features: finds the layout of a path, or takes single files as they are named, and puts a reader on them.

A layout is a kind of file (`containers`) in an arrangement (`arrangements`); a path is what a row of `_PLACES` takes it
for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_prep.features import ArraySource, FeatureReader
from data_prep.features.arrangements import (
    ARRANGEMENTS,
    JOINT,
    KEYS,
    Arrangement,
    Fit,
    Streams,
    separate_streams,
)
from data_prep.features.axes import AXES, decide_axes
from data_prep.features.containers import CONTAINERS, NPY, Container, LocatedArrays, Location, all_suffixes
from data_prep.features.listing import STREAMS, Listing, list_path, names_of
from data_prep.features.object_array import WORDS, RowArrays, is_object_array
from data_prep.features.readers import CHANNEL_ORDERS, JointReader, SeparateReader
from tc3net.common.errors import UserError

AUTO = "auto"
# Videos whose shapes are looked at to find out the order of the axes.
_SHAPES_SEEN = 200
_NAMED = 3


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


_ALL = tuple(
    Layout(container, arrangement)
    for container in CONTAINERS
    for arrangement in ARRANGEMENTS
    if container.names_arrays or not arrangement.needs_names
)
LAYOUTS = (AUTO, *(layout.name for layout in _ALL))


@dataclass(frozen=True)
class FeatureChoices:
    """What a user can say about features that do not speak for themselves.

    Attributes:
        flow_features: folder or file of the flow stream, where the features' path holds rgb only.
        layout: one of `LAYOUTS`.
        channel_order: one of `CHANNEL_ORDERS`, for joint arrays.
        axes: one of `AXES`, for 3-D arrays.
    """

    flow_features: str | Path | None = None
    layout: str = AUTO
    channel_order: str = CHANNEL_ORDERS[0]
    axes: str = AXES[0]

    def __post_init__(self) -> None:
        for flag, value, allowed in (
            ("feature_layout", self.layout, LAYOUTS),
            ("channel_order", self.channel_order, CHANNEL_ORDERS),
            ("feature_axes", self.axes, AXES),
        ):
            if value not in allowed:
                raise UserError(f"{flag} is {value!r}; expected one of {', '.join(allowed)}. Set --{flag}.")


def recognise(path: Path, asked: str) -> Streams:
    """Finds both streams below one path.

    Args:
        path: a folder, or a file with a whole data set.
        asked: one of `LAYOUTS`; "auto" accepts what can only be read in one way.

    Raises:
        UserError: nothing is there, or several layouts fit, or the one asked for does not.
    """
    listings = list_path(path)
    fits = {one: one.arrangement.fit(listings[one.container]) for one in _ALL if one.container in listings}
    found = [one for one, fit in fits.items() if fit in (Fit.UNSURE, Fit.YES)]
    if not found:
        raise UserError(
            f"{path}: no {all_suffixes()} files there or in {path}/rgb and {path}/flow; expected one or two per video. "
            "Check --features."
        )
    unsure = [one for one in found if fits[one] is Fit.UNSURE]
    words = "; ".join(
        f"{one.arrangement.words}{' (or one stream alone)' if one in unsure else ''}, {one.container.name}"
        for one in found
    )
    if asked != AUTO:
        chosen = [one for one, fit in fits.items() if one.name == asked and fit is not Fit.NO]
        if not chosen:
            raise UserError(f"{path}: --feature_layout={asked} does not fit; found {words}. Correct the flag.")
    elif len(found) > 1 or unsure:
        raise UserError(
            f"{path}: found {words}; expected to see which features are meant. Say it: "
            + " or ".join(f"--feature_layout={one.name}" for one in found)
            + (", or, if this is rgb alone, --flow_features= with flow's folder." if unsure else ".")
        )
    else:
        chosen = found
    (layout,) = chosen
    return layout.arrangement.streams(listings[layout.container], layout.words, path)


def single_stream(path: Path, asked: str, stream: str) -> LocatedArrays:
    """The arrays of one stream, where each stream has a folder (or file with a whole data set) of its own.

    Args:
        path: the folder or file.
        asked: one of `LAYOUTS`, of which only the kind of file matters here.
        stream: which stream it should be; names may end in it.

    Raises:
        UserError: nothing is there, or files of several kinds.
    """
    apart = [one for one in _ALL if one.arrangement.streams_apart and asked in (AUTO, one.name)]
    listings = list_path(path)
    found = [one for one in apart if one.container in listings]
    flag = "--features" if stream == "rgb" else "--flow_features"
    if len(found) != 1 or not listings[found[0].container].loose:
        kinds = ", ".join(one.container.name for one in found)
        what = f"files of the kinds {kinds}" if len(found) > 1 else "no feature files"
        choices = " or ".join(f"--feature_layout={one.name}" for one in found)
        raise UserError(
            f"{path}: {what} found; expected one array of {stream} for each video. "
            + (f"Say which: {choices}." if len(found) > 1 else f"Check {flag}.")
        )
    listing = listings[found[0].container]
    named = listing.by_suffix()[stream]
    return LocatedArrays(named if len(named) == len(listing.loose) else listing.loose, f"{stream} features")


@dataclass(frozen=True)
class _Place:
    """What the path of features can be.

    Attributes:
        recognises: whether a path is meant as this.
        layouts: what `--feature_layout` may say of it.
        both: both streams; takes path, layout, and the annotated videos in file order.
        one: one stream; takes path, layout, the stream, and the videos.
    """

    recognises: Callable[[Path], bool]
    layouts: tuple[str, ...]
    both: Callable[[Path, str, Sequence[str]], Streams]
    one: Callable[[Path, str, str, Sequence[str]], ArraySource]


_PLACES = (
    _Place(
        is_object_array,
        (AUTO, Layout(NPY, JOINT).name),
        both=lambda path, asked, video_ids: Streams(WORDS, joint=RowArrays(path, video_ids)),
        one=lambda path, asked, stream, video_ids: RowArrays(path, video_ids),
    ),
    _Place(
        lambda path: True,
        LAYOUTS,
        both=lambda path, asked, video_ids: recognise(path, asked),
        one=lambda path, asked, stream, video_ids: single_stream(path, asked, stream),
    ),
)


def _place(path: Path) -> _Place:
    return next(place for place in _PLACES if place.recognises(path))


def open_features(
    path: str | Path, video_ids: Sequence[str], choices: FeatureChoices = FeatureChoices()
) -> tuple[FeatureReader, str]:
    """Opens features in whichever layout they are; none are read yet, except where a file cannot be read in parts.

    Args:
        path: the folder or file.
        video_ids: the annotated videos in file order; they name the rows of an object array.
        choices: what the files themselves do not say.

    Returns:
        The reader and the layout in words.

    Raises:
        UserError: nothing at the path, the layout is not clear, or a file is damaged.
    """
    path = Path(path)
    if choices.flow_features is None:
        place = _place(path)
        _require_layout(f"{path}", choices.layout, place.layouts)
        streams = place.both(path, choices.layout, video_ids)
    else:
        flow_path = Path(choices.flow_features)
        apart = tuple(one.name for one in _ALL if one.arrangement.streams_apart)
        _require_layout(f"{path} and --flow_features={choices.flow_features}", choices.layout, (AUTO, *apart))
        streams = Streams(
            f"rgb; flow in {flow_path}",
            rgb=_place(path).one(path, choices.layout, "rgb", video_ids),
            flow=_place(flow_path).one(flow_path, choices.layout, "flow", video_ids),
        )
    return _reader(streams, choices, f"{path}")


def _require_layout(what: str, asked: str, allowed: tuple[str, ...]) -> None:
    """Refuses a layout that would be ignored, because the paths say another."""
    if asked not in allowed:
        raise UserError(
            f"{what}: --feature_layout={asked} does not fit; expected one of {', '.join(allowed)} there. Correct the "
            "flag."
        )


def open_files(files: Mapping[str, Sequence[Path]], choices: FeatureChoices = FeatureChoices()) -> FeatureReader:
    """Opens features of single videos from files that were named one by one; the rules are those of `open_features`.

    Args:
        files: video id -> its file with both streams, or its rgb and its flow file; for all videos the same.
        choices: what the files themselves do not say; order of channels and axes.

    Raises:
        UserError: a file is absent or damaged, or the order of its axes is not clear.
    """
    paths = [str(path) for some in files.values() for path in some]
    where = ", ".join(paths[:_NAMED]) + (", ..." if len(paths) > _NAMED else "")
    if all(len(some) == len(STREAMS) for some in files.values()):
        by_stream = {
            stream: {video_id: Location(some[place]) for video_id, some in files.items()}
            for place, stream in enumerate(STREAMS)
        }
        streams = separate_streams("a file for each stream", by_stream)
    else:
        listing = Listing({video_id: Location(path) for video_id, (path,) in files.items()})
        keyed = all(set(STREAMS) <= set(names_of(location)) for location in listing.loose.values())
        arrangement = KEYS if keyed else JOINT
        streams = arrangement.streams(listing, arrangement.words, Path(where))
    return _reader(streams, choices, where)[0]


def _reader(streams: Streams, choices: FeatureChoices, where: str) -> tuple[FeatureReader, str]:
    """A reader of the streams, and the layout in words."""
    axes = decide_axes(_some_shapes(streams.sources()), choices.axes, where)
    notes = [note for source in streams.sources() for note in source.notes]
    added = [*filter(None, [axes.describe()]), *notes]
    if streams.joint is not None:
        words = ", ".join([streams.words, choices.channel_order.replace("_", " "), *added])
        return JointReader(streams.joint, axes, choices.channel_order), words
    if choices.channel_order != CHANNEL_ORDERS[0]:
        raise UserError(
            f"{where}: --channel_order={choices.channel_order} found, but rgb and flow are separate ({streams.words}); "
            "expected it for joint arrays only. Drop the flag."
        )
    assert streams.rgb is not None and streams.flow is not None
    return SeparateReader(streams.rgb, streams.flow, axes), ", ".join([streams.words, *added])


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
