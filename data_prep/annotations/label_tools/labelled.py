"""What the exports of labelling tools have in common: names from media files, a table beside them, and XML."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from data_prep.annotations.records import AnnotationSet, Instance, VideoRecord, checked_classes
from data_prep.annotations.tables import read_table
from tc3net.common.errors import Mistakes, UserError
from tc3net.common.names import counted

TABLE = "videos.csv"
_SUBSET = "training"


@dataclass(frozen=True)
class VideoFacts:
    """What the table says of a video that the tool does not."""

    fps: float | None = None
    subset: str = ""
    duration_s: float | None = None


@dataclass(frozen=True)
class LabelledVideo:
    """One video as a tool exported it.

    Attributes:
        video_id: its name.
        instances: intervals, in file order.
        labels: classes of the whole video.
        duration_s: where the export tells it.
        subset: likewise.
    """

    video_id: str
    instances: Sequence[Instance] = ()
    labels: Sequence[str] = ()
    duration_s: float | None = None
    subset: str = ""


@dataclass(frozen=True)
class SideTable:
    """`videos.csv` beside an export: columns `video`, and any of `fps`, `subset`, `duration_s`.

    Attributes:
        path: where it is expected.
        facts: by video; empty where there is no table.
    """

    path: Path
    facts: Mapping[str, VideoFacts] = field(default_factory=dict)

    def of(self, video_id: str) -> VideoFacts:
        """What is known about a video."""
        return self.facts.get(video_id, VideoFacts())

    def require_fps(self, video_id: str, told: float | None, where: str) -> float:
        """Frames per second of a video.

        Args:
            video_id: its name.
            told: what the export says.
            where: the export, for the message.

        Raises:
            UserError: nobody says them, or they are not positive.
        """
        fps = told if told is not None else self.of(video_id).fps
        if fps is None:
            raise UserError(
                f"{where}: intervals of {video_id!r} in frames found, and nothing that says its frames per second; "
                f"expected {self.path} with the columns video,fps. Write that table."
            )
        if not 0 < fps < math.inf:
            raise UserError(f"{where}: {fps:g} frames per second of {video_id!r} found; expected a positive number.")
        return fps


def side_table(export: Path) -> SideTable:
    """The table in a folder of exports, or beside a file.

    Raises:
        UserError: it is damaged, or lists a video twice.
    """
    path = (export if export.is_dir() else export.parent) / TABLE
    if not path.is_file():
        return SideTable(path)
    table = read_table(path, ("video",), ("fps", "subset", "duration_s"))
    facts: dict[str, VideoFacts] = {}
    for row in table.rows:
        with table.mistakes.gathered():
            video_id = row.required("video")
            if video_id in facts:
                raise UserError(f"{row.where}: video {video_id!r} is listed twice; expected one line. Remove one.")
            facts[video_id] = VideoFacts(row.number("fps"), row.cells.get("subset", ""), row.seconds("duration_s"))
    table.mistakes.raise_if_any()
    return SideTable(path, facts)


def annotation_set(
    videos: Iterable[LabelledVideo], path: Path, table: SideTable, subset: str | None, notes: Sequence[str] = ()
) -> AnnotationSet:
    """Videos of a tool as annotations; the classes are those that occur, sorted.

    Args:
        videos: in file order.
        path: of the export, for messages.
        table: beside it; what it says of subset and duration comes first.
        subset: of all videos that neither the table nor the export gives one; None: "training".
        notes: what had to be assumed.
    """
    records, without_duration, assumed = [], set(), 0
    for video in videos:
        facts = table.of(video.video_id)
        duration_s = facts.duration_s if facts.duration_s is not None else video.duration_s
        if duration_s is None:
            without_duration.add(video.video_id)
        told = facts.subset or video.subset
        assumed += not told and subset is None
        labels = tuple(dict.fromkeys([*video.labels, *(one.label for one in video.instances)]))
        records.append(
            VideoRecord(
                video.video_id,
                told or subset or _SUBSET,
                math.nan if duration_s is None else duration_s,
                tuple(labels),
                tuple(video.instances),
                instances_known=bool(video.instances) or not video.labels,
            )
        )
    classes = sorted({label for record in records for label in record.present})
    said = [*notes, *([f"{counted(assumed, 'video')} without a subset taken as {_SUBSET}"] if assumed else [])]
    return AnnotationSet(checked_classes(classes, path), tuple(records), frozenset(without_duration), tuple(said))


def video_id_of(media: str) -> str:
    """The name of a video from the path or address of its file: the file's name without folders and ending.

    Label Studio puts eight hex digits before the names of uploaded files; they are left out. Of an address whose file
    is an argument (`/data/local-files/?d=folder/video.mp4`) the argument counts.
    """
    address = urlsplit(media.strip().replace("\\", "/"))
    place = address.query.rpartition("=")[2] if "=" in address.query and "." in address.query else address.path
    name = PurePosixPath(unquote(place)).name
    stem = name.rpartition(".")[0] or name
    return re.sub(r"^[0-9a-f]{8}-(?=.)", "", stem)


def read_xml(path: Path, root: str, expected: str) -> ET.Element:
    """The root element of an XML file without entities of its own, which could blow it up or name other files.

    Args:
        path: the file.
        root: name of its root element.
        expected: what it should be, for messages.

    Raises:
        UserError: it cannot be read, or is something else.
    """
    try:
        content = path.read_bytes()
        if b"<!ENTITY" in content or "<!ENTITY".encode("utf-16-le") in content:
            raise UserError(f"{path}: XML that declares entities found; expected {expected}. Export it again.")
        element = ET.fromstring(content)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); expected {expected}. Check the path.") from None
    except (ET.ParseError, LookupError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: not valid XML ({error}); expected {expected}. Export it again.") from None
    if element.tag != root:
        raise UserError(f"{path}: XML of {element.tag!r} found; expected {expected}. Check the path.")
    return element


def attribute_number(element: ET.Element, name: str, where: str, mistakes: Mistakes) -> float | None:
    """A number in an attribute; None, with a mistake gathered, where it is absent or no finite number."""
    text = element.get(name)
    try:
        value = float(text) if text is not None else math.nan
    except ValueError:
        value = math.nan
    if math.isfinite(value):
        return value
    mistakes.add(f"{where}: {name} of {element.tag} is {text!r}; expected a number. Export it again.")
    return None


def all_are(folder: Path, ending: str, recognises: Callable[[Path], bool]) -> bool:
    """Whether a folder has files of this ending, all of them exports of one tool."""
    files = files_of(folder, ending)
    return bool(files) and all(map(recognises, files))


def files_of(folder: Path, ending: str) -> list[Path]:
    """The files of a folder with an ending, by name; hidden ones are left out."""
    files = (path for path in folder.iterdir() if path.suffix.lower() == ending and path.is_file())
    return sorted(path for path in files if not path.name.startswith("."))
