"""Extracts features of many videos: threads decode and prepare clips while the networks run, videos finish one by one.

Each video's clips come in order, from one thread; several videos are decoded at a time. What waits for the networks is
bounded, so that memory does not grow with the length or the number of the videos. A row of features depends on its
segment alone: the number of threads, processes and tasks changes nothing, and the batch size only the last bits, as far
as the network computes clips of a batch together.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data_prep.extraction.backbones import Backbone
from data_prep.extraction.clips import Clips, Stopwatch, batches, segment_clips
from data_prep.extraction.decoding import Decoded, VideoFile, decoder_version, import_av
from data_prep.extraction.flow import FlowParameters, FlowPool
from data_prep.extraction.outcome import Outcome
from data_prep.extraction.progress import Progress, clear, opened, read_side_file
from data_prep.extraction.sampling import Sampling
from tc3net.common.errors import UserError
from tc3net.common.files import sha256_of

_POLL_S = 0.2
_TELL_S = 60.0  # how often the screen hears of a long video
SIDE_FILE_VERSION = 1


@dataclass(frozen=True)
class Extraction:
    """How features are computed, and how the work is spread.

    Attributes:
        backbones: stream -> network; all with one sampling.
        flow: parameters of optical flow, for the stream flow.
        batch_size: segments that a network sees at a time.
        num_workers: videos that are decoded at a time.
        flow_workers: processes that compute optical flow.
    """

    backbones: Mapping[str, Backbone]
    flow: FlowParameters = FlowParameters()
    batch_size: int = 1
    num_workers: int = 1
    flow_workers: int = 1

    def __post_init__(self) -> None:
        for name in ("batch_size", "num_workers", "flow_workers"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name}={getattr(self, name)}; expected 1 or more. Correct the flag.")

    @property
    def sampling(self) -> Sampling:
        """Of all networks."""
        return next(iter(self.backbones.values())).sampling

    def settings(self) -> dict[str, Any]:
        """What determines the features of a video, as JSON values; features of other settings are never mixed in."""
        networks = {
            stream: {"network": one.name, "weights": one.weights} for stream, one in sorted(self.backbones.items())
        }
        flow = self.flow.describe() if "flow" in self.backbones else None
        return {"version": SIDE_FILE_VERSION, "networks": networks, "sampling": asdict(self.sampling), "flow": flow}


@dataclass(frozen=True)
class _End:
    """All clips of a video have come, or an error."""

    decoded: Decoded | None = None
    error: Exception | None = None


@dataclass(eq=False)
class _Job:
    """A video under way: its thread puts clips into the queue, the main thread takes them."""

    video_id: str
    path: Path
    sha256: str
    progress: Progress
    close: contextlib.ExitStack


def check_earlier(output_dir: Path, videos: Mapping[str, Path], settings: Mapping[str, Any]) -> dict[str, str]:
    """Videos that are finished: id -> SHA-256 of the file they were made from.

    Raises:
        UserError: features there were made with other settings.
    """
    finished = {}
    for video_id in videos:
        note = read_side_file(output_dir, video_id)
        if note is None:
            continue
        if note["settings"] != settings:
            before = note["settings"] if isinstance(note["settings"], dict) else {}
            changed = sorted(key for key in {*before, *settings} if before.get(key) != settings.get(key))
            raise UserError(
                f"{output_dir}: features of video {video_id!r} with other settings found (other: "
                f"{', '.join(changed)}); expected one kind of features in one folder. Give another --output_dir, or "
                "repeat the earlier flags."
            )
        finished[video_id] = str(note.get("video_sha256"))
    return finished


def side_note(name: str, extraction: Extraction, decoded: Decoded, sha256: str) -> dict[str, Any]:
    """What the side file of a finished video says, but for the shapes.

    Args:
        name: of the video's file.
        extraction: how it was extracted.
        decoded: what was decoded.
        sha256: of the file; an empty text where it is to be extracted again when it is given again.
    """
    sampling = extraction.sampling
    return {
        "video": name,
        "fps": sampling.fps,
        "frames_per_segment": sampling.frames_per_segment,
        "stride_frames": sampling.stride_frames,
        "duration_s": float(decoded.duration_s),
        "decoded": decoded.as_dict(),
        "decoder": decoder_version(),
        "settings": extraction.settings(),
        "video_sha256": sha256,
    }


class Extractor:
    """Extracts the features of videos into a folder.

    Args:
        extraction: how.
        output_dir: OUT; gets OUT/<stream>/<video>.npy and OUT/<video>.json.

    Raises:
        UserError: PyAV is not installed.
    """

    def __init__(self, extraction: Extraction, output_dir: str | Path) -> None:
        import_av()
        self._extraction, self._output_dir = extraction, Path(output_dir)
        self._settings = extraction.settings()
        self._watch = Stopwatch()
        self._outcome = Outcome()
        self._stop = threading.Event()
        self._ready: queue.Queue[tuple[_Job, Clips | _End]] = queue.Queue(2 * extraction.num_workers)
        self._finished: dict[str, str] = {}
        self._jobs: set[_Job] = set()
        self._crash: Exception | None = None
        self._told = time.monotonic()

    def run(self, videos: Mapping[str, Path]) -> Outcome:
        """Extracts videos; one that fails is noted, and the others go on.

        Args:
            videos: id -> file.

        Raises:
            UserError: the folder holds features of other settings, or cannot be written; or a backbone is unusable.
        """
        self._finished = check_earlier(self._output_dir, videos, self._settings)
        start = time.perf_counter()
        with contextlib.ExitStack() as stack:
            pool = None
            if "flow" in self._extraction.backbones:
                pool = stack.enter_context(FlowPool(self._extraction.flow, self._extraction.flow_workers))
            waiting, lock = iter(videos.items()), threading.Lock()
            threads = [
                threading.Thread(target=self._work, args=(waiting, lock, pool), daemon=True)
                for _ in range(min(self._extraction.num_workers, max(1, len(videos))))
            ]
            for thread in threads:
                thread.start()
            try:
                for job, part in self._parts(threads):
                    self._take(job, part)
            except OSError as error:
                raise UserError(
                    f"{self._output_dir}: cannot be written ({error}). Free some space or give another --output_dir; "
                    "the same command goes on from what is finished."
                ) from None
            finally:
                self._stop.set()
                for thread in threads:
                    thread.join()
                for job in list(self._jobs):  # what was given up keeps its rows
                    self._jobs.discard(job)
                    with job.close:
                        job.progress.flush()
        if self._crash is not None:
            raise self._crash
        self._outcome.seconds = {**self._watch.seconds, "all": time.perf_counter() - start}
        return self._outcome

    def _parts(self, threads: list[threading.Thread]) -> Iterator[tuple[_Job, Clips | _End]]:
        """What the threads have ready, until all of them have ended."""
        while True:
            alive = any(thread.is_alive() for thread in threads) and self._crash is None
            try:
                with self._watch.running("waiting for clips"):
                    part = self._ready.get(timeout=_POLL_S)
            except queue.Empty:
                if not alive:
                    return
                continue
            yield part

    def _take(self, job: _Job, part: Clips | _End) -> None:
        if not isinstance(part, _End):
            with self._watch.running("network"):
                rows = {stream: one.features(part[stream]) for stream, one in self._extraction.backbones.items()}
            with self._watch.running("writing"):
                job.progress.add(rows)
            if time.monotonic() - self._told > _TELL_S:
                self._told = time.monotonic()
                print(f"{job.video_id}: {job.progress.count} segments so far", flush=True)
            return
        self._jobs.discard(job)
        with job.close:
            if part.error is not None:
                job.progress.flush()
                self._note_failure(job.video_id, part.error)
                return
            assert part.decoded is not None
            with self._watch.running("writing"):
                self._finish(job, part.decoded)

    def _finish(self, job: _Job, decoded: Decoded) -> None:
        count = job.progress.finish(side_note(job.path.name, self._extraction, decoded, job.sha256))
        self._outcome.segments[job.video_id] = count
        words = ""
        if not decoded.is_whole:
            words = self._outcome.incomplete[job.video_id] = decoded.describe()
        words = f"; INCOMPLETE, decoded: {words}" if words else ""
        words += f"; {decoded.interlaced} interlaced frames, taken as they are" if decoded.interlaced else ""
        print(f"{job.video_id}: {count} segments{words}", flush=True)

    def _note_failure(self, video_id: str, error: Exception) -> None:
        if not isinstance(error, (UserError, OSError)):
            raise RuntimeError(f"video {video_id!r}: {type(error).__name__}: {error}") from error
        self._outcome.failed[video_id] = str(error)
        print(f"{video_id}: FAILED: {error}", flush=True)

    def _work(self, waiting: Iterator[tuple[str, Path]], lock: threading.Lock, pool: FlowPool | None) -> None:
        """In a thread; what nobody expects ends the run, in the main thread."""
        try:
            self._prepare(waiting, lock, pool)
        except Exception as error:
            self._crash = error
            self._stop.set()

    def _prepare(self, waiting: Iterator[tuple[str, Path]], lock: threading.Lock, pool: FlowPool | None) -> None:
        """The clips of one video after the other."""
        while not self._stop.is_set():
            with lock:
                video_id, path = next(waiting, (None, None))
            if video_id is None or path is None:
                return
            with contextlib.ExitStack() as close:
                job = self._open(video_id, path, close)
                if job is None:
                    continue
                job.close = close.pop_all()  # from now on the main thread closes it, after the last part
                self._jobs.add(job)
            try:
                part: _End = self._put_clips(job, pool)
            except Exception as error:  # handed to the main thread, which knows what is the user's
                part = _End(error=error)
            self._put(job, part)

    def _open(self, video_id: str, path: Path, close: contextlib.ExitStack) -> _Job | None:
        """The job of a video; None if there is nothing to do."""
        try:
            sha256 = sha256_of(path)
            if self._finished.get(video_id) == sha256:
                clear(self._output_dir, video_id)
                self._outcome.skipped[video_id] = "finished before"
                return None
            plan = {"settings": self._settings, "video_sha256": sha256}
            streams = list(self._extraction.backbones)
            progress = close.enter_context(opened(self._output_dir, video_id, plan, streams))
        except (OSError, UserError) as error:
            self._note_failure(video_id, error)
            return None
        if progress is None:
            self._outcome.skipped[video_id] = "another process works on it"
            return None
        return _Job(video_id, path, sha256, progress, close)

    def _put_clips(self, job: _Job, pool: FlowPool | None) -> _End:
        sampling = self._extraction.sampling
        streams, first = list(self._extraction.backbones), job.progress.rows
        count = first
        with VideoFile(job.path) as video:
            clips = segment_clips(video, sampling, streams, pool, first, self._watch)
            for batch in batches(clips, self._extraction.batch_size):
                count += len(next(iter(batch.values())))
                if not self._put(job, batch):
                    break
            decoded = video.decoded
        if not count:
            raise UserError(
                f"{job.path}: {float(decoded.duration_s):.2f} s found, less than one segment of "
                f"{sampling.frames_per_segment} frames at {sampling.fps:g} fps; expected a longer video. Leave it out, "
                "or lower --frames_per_segment."
            )
        return _End(decoded)

    def _put(self, job: _Job, part: Clips | _End) -> bool:
        """Waits until there is room; False if the work was given up."""
        while not self._stop.is_set():
            with contextlib.suppress(queue.Full):
                self._ready.put((job, part), timeout=_POLL_S)
                return True
        return False
