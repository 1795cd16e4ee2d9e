"""Which videos of a subset are scored: named lists of the field, a file of names, or all but some.

Numbers of one data set are comparable only over the same videos. Of THUMOS14's test subset 213 videos have temporal
annotation, of which public code leaves out up to three; each list is data here, with its source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tc3net.common.config import option
from tc3net.common.errors import UserError
from tc3net.common.storage import path_of


@dataclass(frozen=True)
class VideoList:
    """A list of videos that results of a data set are reported on: all of the subset but a few.

    Attributes:
        name: as --videos takes it.
        number: how many videos it has.
        excluded: the names that it leaves out.
        source: who scores it, and why.
    """

    name: str
    number: int
    excluded: tuple[str, ...]
    source: str


# Annotated with a class that they do not show: HammerThrow in a video of Haircut, CricketShot in one of FrisbeeCatch.
_FALSE = ("video_test_0000270", "video_test_0001496")
_AMBIGUOUS_ONLY = "video_test_0001292"  # nothing but intervals of the class Ambiguous

VIDEO_LISTS: dict[str, VideoList] = {
    found.name: found
    for found in (
        VideoList("thumos14_213", 213, (), "the THUMOS14 challenge (2014): every test video with temporal annotation"),
        VideoList(
            "thumos14_212",
            212,
            (_AMBIGUOUS_ONLY,),
            "W-TALC's annotations and ActionFormer's thumos14.json: without 1292, which has Ambiguous intervals alone",
        ),
        VideoList(
            "thumos14_211",
            211,
            _FALSE,
            "SSN (ICCV 2017) and papers after it: without 270 and 1496, which are falsely annotated",
        ),
        VideoList(
            "thumos14_210",
            210,
            tuple(sorted((*_FALSE, _AMBIGUOUS_ONLY))),
            "3C-Net's annotations, STPN's code, the lists of SSN, P-GCN and AFSD, and the usual thumos14_gt.json: "
            "without 270, 1292 and 1496",
        ),
    )
}


@dataclass(frozen=True)
class VideoChoice:
    """Which videos are scored."""

    videos: str = option(
        "",
        f"Score only these: a file with one name per line, or a list of the field: {', '.join(VIDEO_LISTS)}. Default: "
        "all of the subset.",
    )
    exclude_videos: str = option(
        "", "Leave these out: names, comma separated, or a file with one name per line; also together with --videos."
    )

    @property
    def named(self) -> VideoList | None:
        """The list of the field that `videos` names."""
        return VIDEO_LISTS.get(self.videos)

    def words(self) -> str:
        """What was chosen, for people."""
        if self.named:
            chosen = f"list {self.videos} ({self.named.source})"
        else:
            chosen = f"the videos of {self.videos}" if self.videos else "all annotated videos"
        return f"{chosen}, without those of --exclude_videos" if self.exclude_videos else chosen


def chosen_videos(choice: VideoChoice, known: Iterable[str]) -> tuple[Callable[[str], bool], tuple[str, ...]]:
    """Reads what a choice names.

    Args:
        choice: list, file and names.
        known: names of the videos that could be scored.

    Returns:
        Whether a video stays, by its name; and the names given that none of the known videos has.

    Raises:
        UserError: no such file or list, no name in a file, or none of the known videos stays.
    """
    known = set(known)
    only = None if choice.named or not choice.videos else read_names(choice.videos)
    excluded = set(choice.named.excluded if choice.named else ())
    excluded_by_name: set[str] = set()
    if choice.exclude_videos:
        text = choice.exclude_videos
        excluded_by_name = set(read_names(text) if _is_file(text) else filter(None, map(str.strip, text.split(","))))
    absent = tuple(sorted((excluded_by_name | set(only or ())) - known))

    def stays(video_id: str) -> bool:
        return (only is None or video_id in only) and video_id not in excluded and video_id not in excluded_by_name

    if not any(map(stays, known)):
        flags = " ".join(f"--{name}={value}" for name, value in vars(choice).items() if value)
        raise UserError(
            f"{flags}: leaves none of the {len(known)} videos (first: {sorted(known)[:3]}"
            f"{f'; not among them: {list(absent[:3])}' if absent else ''}). Use the names of the annotations."
        )
    return stays, absent


def _is_file(text: str) -> bool:
    """A path that exists, or that looks like one: a file that is missing is no name of a video."""
    return path_of(text).is_file() or (("/" in text or text.endswith((".txt", ".csv", ".lst"))) and "," not in text)


def read_names(path: str | Path) -> frozenset[str]:
    """Names of videos, one per line; empty lines and what follows "#" are left out.

    Raises:
        UserError: no such file, not text, or no name in it.
    """
    try:
        lines = path_of(path).read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such file; expected one video per line, or one of the lists {', '.join(VIDEO_LISTS)}."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: expected a text file with one video per line; reading it gives {error}.") from None
    names = frozenset(line.partition("#")[0].strip() for line in lines) - {""}
    if not names:
        raise UserError(f"{path}: no name found; expected one video per line.")
    return names
