"""Opens features: finds the layout of a path, and puts a reader on it.

A layout is a kind of file (`containers`) in an arrangement (`arrangements`); a path is what a row of `_PLACES` takes it
for. Files that are named one by one are the matter of `given`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from data_prep.features import ArraySource, FeatureReader
from data_prep.features.arrangements import JOINT, Fit, Found
from data_prep.features.choices import ALL, AUTO, LAYOUTS, FeatureChoices, Layout
from data_prep.features.containers import LocatedArrays, all_suffixes
from data_prep.features.kinds.container import Container
from data_prep.features.kinds.numpy_files import NPY
from data_prep.features.listing import Listing, list_path, own_names, what_is_there
from data_prep.features.object_array import WORDS, RowArrays, is_object_array
from data_prep.features.opening import make_reader
from tc3net.common.errors import UserError
from tc3net.common.storage import path_of


def recognise(
    path: Path, choices: FeatureChoices, video_ids: Collection[str] = (), *, joint_is_meant: bool = False
) -> Found:
    """Finds the streams below one path.

    Args:
        path: a folder, or a file with a whole data set.
        choices: of the layout; "auto" accepts what can only be read in one way.
        video_ids: the annotated videos, where they are known.
        joint_is_meant: whether an array that may be one stream alone is both streams: a model knows how wide both are.

    Raises:
        UserError: nothing is there, or several layouts fit, or the one asked for does not.
    """
    asked = choices.layout
    there = list_path(path, video_ids, choices.keys, choices.names)
    listings = _that_count(there, asked)
    fits = {one: one.arrangement.fit(listings[one.container]) for one in ALL if one.container in listings}
    found = [one for one, fit in fits.items() if fit in (Fit.UNSURE, Fit.YES)]
    if not found:
        raise _nothing_found(path, choices)
    # Sizes that were stated divide an array, and say that it is not one stream alone.
    meant = joint_is_meant or all(size is not None for _, size in choices.streams)
    unsure = [one for one in found if fits[one] is Fit.UNSURE and not meant]
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
            + (", or, if this is one stream alone, --streams=NAME (or --flow_features=)." if unsure else ".")
            + "".join(
                f" There are {len(listing)} {kind.suffixes[0]} files too: --feature_layout={kind.name}_..."
                for kind, listing in there.items()
                if kind not in listings
            )
        )
    else:
        chosen = found
    (layout,) = chosen
    listing = listings[layout.container]
    listing.require_unique(path)
    return layout.arrangement.streams(listing, ", ".join(filter(None, [layout.words, _missing_content(listing)])), path)


def _that_count(listings: dict[Container, Listing], asked: str) -> dict[Container, Listing]:
    """Without the kinds that also lie beside features, unless there is nothing else or they are asked for."""
    common = {container: listing for container, listing in listings.items() if container.is_common}
    if asked == AUTO:
        return common or listings
    return {kind: listing for kind, listing in listings.items() if kind.is_common or asked.startswith(f"{kind.name}_")}


def _missing_content(listing: Listing) -> str:
    """How many files are links without content, with what fetches the first."""
    pointers = listing.pointers()
    if not pointers:
        return ""
    return f"{len(pointers)} of {len(listing)} files without their content: {pointers[0].rpartition('. ')[2]}"


def _nothing_found(path: Path, choices: FeatureChoices) -> UserError:
    if path.is_dir() and not choices.keys:
        return UserError(
            f"{path}: no {all_suffixes()} files there, in folders named as its streams or in others below, but "
            f"{what_is_there(path)}; expected one or two per video. Check --features."
        )
    return UserError(
        f"{path}: no arrays{f' as --feature_key={choices.key} says' if choices.keys else ''} found; expected those of "
        "each video. Check --features and --feature_key."
    )


def single_stream(
    path: Path, choices: FeatureChoices, stream: str, video_ids: Collection[str] = (), flag: str = ""
) -> LocatedArrays:
    """The arrays of one stream, where each stream has a folder (or file with a whole data set) of its own.

    Args:
        path: the folder or file.
        choices: of the layout only the kind of file matters here.
        stream: which stream it should be; names may end in it.
        video_ids: the annotated videos, where they are known.
        flag: the flag that names the path, where it is none of the conversion's.

    Raises:
        UserError: nothing is there, or files of several kinds.
    """
    apart = [one for one in ALL if one.arrangement.streams_apart and choices.layout in (AUTO, one.name)]
    if len(choices.keys) > 1:
        raise UserError(
            f"{path}: --feature_key={choices.key} names two arrays, but holds {stream} alone; expected one. "
            "Drop the other."
        )
    listings = _that_count(list_path(path, video_ids, choices.keys, choices.names), choices.layout)
    found = [one for one in apart if one.container in listings]
    flag = flag or ("--features" if stream == "rgb" else "--flow_features")
    listing = listings[found[0].container] if len(found) == 1 else Listing()
    # The folder above those of the streams can be given for each of them.
    files = listing.loose or listing.streams.get(stream, {})
    if not files:
        kinds = ", ".join(one.container.name for one in found)
        what = f"files of the kinds {kinds}" if len(found) > 1 else "no feature files"
        there = f" ({what_is_there(path)})" if path.is_dir() and not found else ""
        say_which = " or ".join(f"--feature_layout={one.name}" for one in found)
        raise UserError(
            f"{path}: {what} found{there}; expected one array of {stream} for each video. "
            + (f"Say which: {say_which}." if len(found) > 1 else f"Check {flag}.")
        )
    listing.require_unique(path)
    key = choices.keys[0] if choices.keys else None
    own = own_names(files, stream, choices.names)
    arrays = LocatedArrays({n: replace(location, key=key) for n, location in own.items()}, f"{stream} features")
    missing = _missing_content(listing)
    arrays.notes += (missing,) if missing else ()
    return arrays


@dataclass(frozen=True)
class _Place:
    """What the path of features can be.

    Attributes:
        recognises: whether a path is meant as this.
        layouts: what `--feature_layout` may say of it.
        both: both streams; takes path, choices, and the annotated videos in file order.
        one: one stream; takes path, choices, the stream, and the videos.
    """

    recognises: Callable[[Path], bool]
    layouts: tuple[str, ...]
    both: Callable[[Path, FeatureChoices, Sequence[str]], Found]
    one: Callable[[Path, FeatureChoices, str, Sequence[str]], ArraySource]


_PLACES = (
    _Place(
        is_object_array,
        (AUTO, Layout(NPY, JOINT).name),
        both=lambda path, choices, video_ids: Found(WORDS, joint=RowArrays(path, video_ids)),
        one=lambda path, choices, stream, video_ids: RowArrays(path, video_ids),
    ),
    _Place(
        lambda path: True,
        LAYOUTS,
        both=lambda path, choices, video_ids: recognise(path, choices, video_ids),
        one=lambda path, choices, stream, video_ids: single_stream(path, choices, stream, video_ids),
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
    path = path_of(path)
    if choices.flow_features is None:
        place = _place(path)
        _require_layout(f"{path}", choices.layout, place.layouts)
        streams = place.both(path, choices, video_ids)
    else:
        flow_path = path_of(choices.flow_features)
        apart = tuple(one.name for one in ALL if one.arrangement.streams_apart)
        _require_layout(f"{path} and --flow_features={choices.flow_features}", choices.layout, (AUTO, *apart))
        places = {"rgb": path, "flow": flow_path}
        streams = Found(
            f"rgb; flow in {flow_path}",
            apart={name: _place(at).one(at, choices, name, video_ids) for name, at in places.items()},
        )
    return make_reader(streams, choices, f"{path}")


def _require_layout(what: str, asked: str, allowed: tuple[str, ...]) -> None:
    """Refuses a layout that would be ignored, because the paths say another."""
    if asked not in allowed:
        raise UserError(
            f"{what}: --feature_layout={asked} does not fit; expected one of {', '.join(allowed)} there. Correct the "
            "flag."
        )
