"""Detections in a video that has not ended yet: its features are extracted as it comes, and kept."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from data_prep.extraction.extracting import check_earlier, side_note
from data_prep.extraction.live.rows import LiveFeatures
from data_prep.extraction.live.sources import Patience, open_live
from data_prep.extraction.progress import Progress, opened
from tc3net.common.errors import UserError
from tc3net.common.files import sha256_of
from tc3net.prediction.follow import FollowConfig, Found, StreamDetector, follow_files
from tc3net.prediction.video_features import is_address
from tc3net.prediction.video_networks import RunNetworks


class _KeptRows:
    """Rows of the run's streams as they come, which are also written down."""

    def __init__(self, live: LiveFeatures, networks: RunNetworks, progress: Progress) -> None:
        self._live, self._networks, self._progress = live, networks, progress

    def read(self) -> np.ndarray:
        """[n, ΣD] float32."""
        parts = self._live.read()
        if not parts:
            return np.zeros((0, sum(self._networks.sizes.values())), np.float32)
        self._progress.add(parts)
        return self._networks.joined(parts)


def name_of(address: str) -> str:
    """The id of a video under way: a file's name without its ending, `camera_0`, or the end of a stream's address."""
    if not is_address(address):
        return Path(address).stem
    path = address.partition("?")[0].rstrip("/")
    last = path.rpartition("/")[2] if "://" in path else path
    return re.sub(r"[^\w-]+", "_", last.rpartition(".")[0] or last).strip("_") or "stream"


class VideoFollower:
    """One video under way.

    Args:
        address: a file (it need not exist yet), a pipe, the address of a stream, or `camera:0`.
        networks: of the run.
        features_dir: gets its features.
        follow: how long the source is waited for.
        stop: whether to end before the source does.

    Attributes:
        video_id: its name.
        film: the file, where it is one.
        segments: how many have come.
        error: why the video ended before its end; None where it did not.

    Raises:
        UserError: features of that name and other settings are there.
    """

    def __init__(
        self, address: str, networks: RunNetworks, features_dir: Path, follow: FollowConfig, stop: Callable[[], bool]
    ) -> None:
        self.video_id, self.film, self.segments = name_of(address), None if is_address(address) else Path(address), 0
        self.error: UserError | None = None
        self._address, self._networks, self._features_dir = address, networks, features_dir
        self._follow, self._stop = follow, stop
        check_earlier(features_dir, {self.video_id: Path(address)}, networks.extraction.settings())

    def detections(self, detector: StreamDetector) -> Iterator[Found]:
        """Yields detections as they are complete; at the end the features are in their files.

        Args:
            detector: of this video.

        Raises:
            UserError: the video cannot be opened, or another process extracts it.
        """
        extraction = self._networks.extraction
        patience = Patience(self._follow.follow_timeout_s, self._follow.follow_poll_s, self._stop)
        # What a killed attempt has left is of no use: nobody knows whether the source is the same.
        plan = {"follow": uuid.uuid4().hex}
        with opened(self._features_dir, self.video_id, plan, list(extraction.backbones)) as progress:
            if progress is None:
                raise UserError(
                    f"{self._features_dir}: another process extracts video {self.video_id!r}; expected none. Wait for "
                    "it, or give another --features_dir."
                )
            with LiveFeatures(extraction, lambda: open_live(self._address, patience), self._stop) as live:
                rows = _KeptRows(live, self._networks, progress)
                endless = replace(self._follow, follow_timeout_s=0.0)  # the source knows when it has ended
                yield from follow_files(detector, rows, endless, lambda: live.ended)
            self.segments = progress.count
            self._note_error(live)
            if self.segments and live.decoded is not None:
                decoded = live.decoded
                if live.was_stopped:
                    decoded.ended_early = "stopped"
                is_whole_file = self.film is not None and self.film.is_file() and not live.was_stopped
                sha256 = sha256_of(self.film) if is_whole_file and self.film is not None else ""
                progress.finish(side_note(Path(self._address).name, extraction, decoded, sha256))

    def _note_error(self, live: LiveFeatures) -> None:
        if live.error is not None and not isinstance(live.error, (UserError, OSError)):
            raise RuntimeError(f"{self._address}: {type(live.error).__name__}: {live.error}") from live.error
        decoded = live.decoded
        if live.error is not None:
            self.error = UserError(str(live.error))
        elif decoded is not None and decoded.ended_early and not live.timed_out:
            self.error = UserError(
                f"{self._address}: reading broke off after {float(decoded.duration_s):.2f} s ({decoded.ended_early}); "
                "expected the end of the video. What came before is written; start again to go on with what comes now."
            )
        elif not self.segments:
            self.error = UserError(
                f"{self._address}: it ended before one segment was complete. Check that it grows, or raise "
                "--follow_timeout_s."
            )
