"""What is known about the videos of a data set, in one form for every annotation format, and what such a format is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data_prep.pickles.arrays import as_text, load_array
from tc3net.common.errors import UserError
from tc3net.common.files import encoding_of
from tc3net.common.storage import local_copy, path_of


@dataclass(frozen=True)
class Instance:
    """One annotated interval of one class, in seconds."""

    start_s: float
    end_s: float
    label: str


@dataclass(frozen=True)
class VideoRecord:
    """The annotation of one video.

    Attributes:
        video_id: the video's name.
        subset: split name ("validation", "test", ...).
        duration_s: the video's duration in seconds; NaN until it is known (`AnnotationSet.without_duration`).
        labels: class names annotated at video level; a format that has none gives the classes of the instances.
        instances: annotated instances, in file order.
        instances_known: whether the video was annotated in time at all; then no instances means that none occur.
        ambiguous: (start_s, end_s) of the intervals in which detections are not scored.
        counts: explicit instance counts per class name, for formats that have them instead of instances.
        fps: frames per second that the format tells; None where it does not.
    """

    video_id: str
    subset: str
    duration_s: float
    labels: tuple[str, ...]
    instances: tuple[Instance, ...]
    instances_known: bool
    ambiguous: tuple[tuple[float, float], ...] = ()
    counts: Mapping[str, int] | None = None
    fps: float | None = None

    @property
    def present(self) -> frozenset[str]:
        """Classes that occur: the video-level labels, those of the instances, and those counted at least once."""
        counted = {label for label, count in (self.counts or {}).items() if count > 0}
        return frozenset(self.labels) | {instance.label for instance in self.instances} | counted


@dataclass(frozen=True)
class AnnotationSet:
    """All videos of a data set; a class id is the position in `classes`.

    Attributes:
        classes: class names.
        videos: the annotations.
        without_duration: ids of the videos whose duration the format does not tell.
        notes: what had to be assumed about the file, in words.
        classes_listed: whether the classes are a list of their own, rather than those of the labels.
        durations_of_features: ids of the videos whose duration is the length of their features, for want of another.
    """

    classes: tuple[str, ...]
    videos: tuple[VideoRecord, ...]
    without_duration: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    classes_listed: bool = field(default=False, compare=False)
    durations_of_features: frozenset[str] = frozenset()


def _never(path: Path) -> str:
    return ""


@dataclass(frozen=True)
class AnnotationFormat:
    """One way to write annotations down.

    Attributes:
        name: as `--annotation_format` takes it.
        words: the format in a few words, as the screen and the manifest state it.
        expected: what a file or folder of it looks like, for the message where none is recognised.
        recognises: whether a path is of this format, from its content and not from its name; the path exists. A file
            need not be text (`beginning_of` helps).
        read: path and subset -> the annotations; raises UserError for what is damaged. The subset is None, unless
            `takes_subset` and the user named one.
        takes_subset: whether the format leaves the subset of its videos open, so that the user may name it.
        is_folder: whether it is a folder of files, and not one file.
        is_general: whether `recognises` is true of more than the format's own files, so that a damaged one is refused
            in this format's words; a format that recognises the file as its own comes first.
        near_miss: of a path that no format recognises, what was found, expected, and the cure, if it looks as if this
            format were meant; else "".
    """

    name: str
    words: str
    expected: str
    recognises: Callable[[Path], bool]
    read: Callable[[Path, str | None], AnnotationSet]
    takes_subset: bool = False
    is_folder: bool = False
    is_general: bool = False
    near_miss: Callable[[Path], str] = _never


_CHARACTERS_SEEN = 4096


def read_beginning(path: Path) -> str:
    """The first characters of a text file, UTF-8 with or without byte order mark, or UTF-16 with it.

    Raises:
        OSError: it cannot be read.
        UnicodeError: it is not text.
    """
    with open(path, encoding=encoding_of(path)) as file:
        return file.read(_CHARACTERS_SEEN)


def beginning_of(path: Path) -> str:
    """As `read_beginning`, for formats that look whether a file is theirs: "" where it is no text or cannot be read."""
    try:
        return read_beginning(path)
    except (OSError, UnicodeError):
        return ""


def checked_classes(classes: Sequence[str], path: str | Path) -> tuple[str, ...]:
    """The class list as a tuple, without the blanks around the names.

    Args:
        classes: class names in the order of their ids.
        path: the file they came from, for the message.

    Raises:
        UserError: an empty name, or a name that occurs twice.
    """
    names = tuple(name.strip() for name in classes)
    if not all(names):
        raise UserError(f"{path}: an empty class name found; expected a name for every class. Correct the class list.")
    repeated = sorted(name for name, number in Counter(names).items() if number > 1)
    if repeated:
        listed = ", ".join(map(repr, repeated))
        raise UserError(f"{path}: class {listed} is listed more than once; expected unique names. Remove one.")
    return names


def read_class_list(path: str | Path) -> tuple[str, ...]:
    """The classes of `--class_list`, in the order of their ids.

    Raises:
        UserError: the file is absent or damaged, has no names, or one that is empty or occurs twice.
    """
    names = checked_classes(read_class_file(path), path)
    if not names:
        raise UserError(f"{path}: no names found; expected a class name per line. Correct the class list.")
    return names


def read_class_file(path: str | Path) -> tuple[str, ...]:
    """Class names from a text file, one per line, or from a `.npy` array of names.

    Raises:
        UserError: the file is absent or damaged.
    """
    path = path_of(path)
    if path.suffix == ".npy":
        with local_copy(path) as local:
            names = [as_text(name, str(path)) for name in load_array(local).ravel()]
    else:
        try:
            names = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                f"{path}: cannot be read ({error}); expected a text file with a class name per line. Check the path."
            ) from None
    return tuple(name.strip() for name in names if name.strip())
