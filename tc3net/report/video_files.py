"""Video files that belong to the videos of a report: linked beside the page, or inside it."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from tc3net.common.errors import UserError

# What browsers play, and its media type.
_TYPES = {".mp4": "video/mp4", ".m4v": "video/mp4", ".webm": "video/webm", ".ogv": "video/ogg", ".mov": "video/mp4"}
MOST_EMBEDDED_MB = 200


@dataclass(frozen=True)
class VideoFiles:
    """Where the video files are.

    Attributes:
        files: of the videos that have one, by id.
        embed: whether their bytes go into the page; else it links to them, by a path relative to the page.
        where: where the files were looked for, for messages.
    """

    files: Mapping[str, Path]
    embed: bool = False
    where: str = "the videos"

    @classmethod
    def in_folder(cls, folder: Path, embed: bool = False) -> VideoFiles:
        """The files in a folder, which are named after the video, as `video_test_0000004.mp4`.

        Raises:
            UserError: no such folder.
        """
        if not folder.is_dir():
            raise UserError(f"--videos={folder}: no such folder.")
        files: dict[str, Path] = {}
        for file in sorted(folder.iterdir()):
            if file.suffix.lower() in _TYPES and file.is_file():
                files.setdefault(file.stem, file)
        return cls(files, embed, f"--videos={folder}")

    def urls(self, video_ids: Sequence[str], page: Path) -> dict[str, str]:
        """Address of each video's file, for those that have one.

        Args:
            video_ids: the videos of the report.
            page: the page that will link to them.

        Raises:
            UserError: not one file of these videos, or too much to embed.
        """
        mine = {video_id: self.files[video_id] for video_id in video_ids if video_id in self.files}
        if not mine:
            raise UserError(
                f"{self.where}: no file of these videos found; expected names such as {video_ids[0]}.mp4 "
                f"(or {', '.join(list(_TYPES)[1:])})."
            )
        if not self.embed:
            start = page.resolve().parent
            return {
                video_id: quote(Path(os.path.relpath(file.resolve(), start)).as_posix())
                for video_id, file in mine.items()
            }
        size_mb = sum(file.stat().st_size for file in mine.values()) / 1e6
        if size_mb > MOST_EMBEDDED_MB:
            raise UserError(
                f"--embed_videos: the {len(mine)} files of {self.where} are {size_mb:.0f} MB; a page with more than "
                f"{MOST_EMBEDDED_MB} MB opens slowly or not at all. Link to them, or give fewer."
            )
        return {
            video_id: f"data:{_TYPES[file.suffix.lower()]};base64,{base64.b64encode(file.read_bytes()).decode()}"
            for video_id, file in mine.items()
        }
