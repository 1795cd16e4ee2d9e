"""Composes untrimmed sequences from features of real clips: real people and real noise, in an artificial order.

    python -m studies.compose_clips --clips=CLIPS --output_dir=RAW --test_sources=4,5,9,10,14,15,19,20 --background=6 \\
        --classes=handshake,hug,kick,point,punch,push
    python -m data_prep.convert --annotations=RAW/annotations.json --features=RAW/features --output_dir=DATASET \\
        --name="UT-Interaction, composed from real clips"

CLIPS is a folder of .npy files [segments, D], or an .npz file of such arrays, named SET_SOURCE_CLIP_CLASS with numbers:
which recording a clip was cut from (SOURCE), and what it shows (CLASS, a position in --classes, or --background). The
features of a folder of clips come from `python -m data_prep.extract` (docs/own-videos.md). A sequence is 1 to 4
background clips, an instance, background again, and so on; it has one or two classes, and ends with background.
Training and test sequences are made of clips of different sources, so of other people where sources are.

Two things make this easier than an untrimmed video: the borders of instances are cuts, and between instances lies what
was recorded as background. A second stream, the absolute difference of neighbouring rows, stands in for optical flow
under its name; it is none. Say "composed from real clips" wherever results are shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from tc3net.common.errors import UserError
from tc3net.common.files import atomic_path, write_json
from tc3net.data.timebase import TimeBase, boundaries_s
from tc3net.terminal.command import run_main

FLAGS = flags.FLAGS
NAMING = "SET_SOURCE_CLIP_CLASS, all numbers, as in 1_4_02_5"


def register_flags() -> None:
    """Defines this command's flags."""
    flags.DEFINE_string("clips", None, f"Folder of .npy files, or an .npz file, named {NAMING}.")
    flags.DEFINE_string("output_dir", None, "Where features/ and annotations.json go.")
    flags.DEFINE_list("classes", [], "Names of the classes, in the order of their numbers.")
    flags.DEFINE_integer("background", None, "Class number of clips that show none of them.")
    flags.DEFINE_list("test_sources", [], "Numbers of the sources whose clips make the test sequences.")
    flags.DEFINE_integer("train", 160, "Training sequences.")
    flags.DEFINE_integer("test", 80, "Test sequences.")
    flags.DEFINE_integer("seed", 3, "Which clips follow one another.")
    flags.DEFINE_float("fps", 25.0, "Frames per second that the clips' features were extracted at, 16 frames a row.")


@dataclass(frozen=True)
class Clips:
    """Features of labelled clips.

    Attributes:
        classes: names, by class number.
        by_source: (source, class number) -> clips [segments, D]; background has the number `background`.
        background: its class number.
    """

    classes: tuple[str, ...]
    by_source: Mapping[tuple[int, int], Sequence[np.ndarray]]
    background: int

    def of(self, sources: Sequence[int], label: int) -> list[np.ndarray]:
        """All clips of a class from these sources."""
        return [clip for source in sources for clip in self.by_source.get((source, label), ())]

    @property
    def sources(self) -> list[int]:
        """All of them, ascending."""
        return sorted({source for source, _ in self.by_source})


def read_clips(path: str | Path, classes: Sequence[str], background: int) -> Clips:
    """Reads all clips.

    Args:
        path: folder or .npz file.
        classes: names, by class number.
        background: class number of clips without a class.

    Raises:
        UserError: no clips there, another naming, a class number without a name, or arrays of unequal size.
    """
    path = Path(path)
    if path.is_dir():
        arrays: Mapping[str, np.ndarray] = {
            file.stem: np.load(file, allow_pickle=False) for file in sorted(path.rglob("*.npy"))
        }
    elif path.suffix == ".npz" and path.is_file():
        arrays = np.load(path, allow_pickle=False)
    else:
        raise UserError(f"--clips={path}: no such folder or .npz file.")
    found: dict[tuple[int, int], list[np.ndarray]] = {}
    dims = set()
    for name in sorted(arrays):
        parts = name.split("_")
        if len(parts) != 4 or not all(part.isdigit() for part in parts):
            raise UserError(f"{path}: a clip is named {name!r}; expected {NAMING}.")
        source, label = int(parts[1]), int(parts[3])
        if label != background and label >= len(classes):
            raise UserError(f"{path}: {name} is of class {label}; expected below {len(classes)} (--classes).")
        rows = np.asarray(arrays[name], np.float32)
        if rows.ndim != 2 or not len(rows):
            raise UserError(f"{path}: {name} is of shape {rows.shape}; expected [segments, D].")
        dims.add(rows.shape[1])
        found.setdefault((source, label), []).append(rows)
    if len(dims) != 1:
        raise UserError(f"{path}: rows of {sorted(dims)} values found; expected clips of one D.")
    return Clips(tuple(classes), found, background)


def compose(
    clips: Clips, sources: Sequence[int], rng: np.random.Generator
) -> tuple[np.ndarray, list[tuple[int, int, int]]]:
    """One sequence.

    Args:
        clips: all of them.
        sources: whose clips may be used.
        rng: draws.

    Returns:
        [segments, D], and (class number, first segment, segment after the last) of its instances, in order.
    """
    background = clips.of(sources, clips.background)
    home = int(rng.choice(sources))
    present = rng.choice(len(clips.classes), int(rng.integers(1, 3)), replace=False)
    rows: list[np.ndarray] = []
    instances: list[tuple[int, int, int]] = []
    length = 0

    def put(clip: np.ndarray) -> None:
        nonlocal length
        rows.append(clip)
        length += len(clip)

    for _ in range(int(rng.integers(3, 9))):
        for _ in range(int(rng.integers(1, 5))):
            put(_any(background, rng))
        label = int(rng.choice(present))
        # Mostly anybody's clip; sometimes the people of one recording, as a real video would show them.
        at_home = clips.of([home], label) if rng.random() >= 0.7 else []
        begin = length
        put(_any(at_home or clips.of(sources, label), rng))
        instances.append((label, begin, length))
    put(_any(background, rng))
    return np.concatenate(rows), instances


def _any(pool: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    return pool[int(rng.integers(len(pool)))]


def write_sequences(
    folder: str | Path, clips: Clips, subsets: Mapping[str, tuple[Sequence[int], int]], time_base: TimeBase, seed: int
) -> dict[str, Any]:
    """Composes and writes everything, annotations last.

    Args:
        folder: gets features/rgb, features/flow and annotations.json.
        clips: all of them.
        subsets: name -> (sources, number of sequences).
        time_base: of the rows.
        seed: of all draws.

    Returns:
        What annotations.json holds.

    Raises:
        UserError: a subset's sources lack clips of a class, or of background.
    """
    folder, rng = Path(folder), np.random.default_rng(seed)
    database = {}
    for stream in ("rgb", "flow"):
        (folder / "features" / stream).mkdir(parents=True, exist_ok=True)
    for subset, (sources, number) in subsets.items():
        for label in (*range(len(clips.classes)), clips.background):
            if not clips.of(sources, label):
                raise UserError(f"The {subset} sources {list(sources)} have no clip of class {label}; expected some.")
        for i in range(number):
            rows, instances = compose(clips, sources, rng)
            change = np.concatenate([np.zeros_like(rows[:1]), np.abs(np.diff(rows, axis=0))])
            video = f"{subset}_{i:04d}"
            for stream, values in (("rgb", rows), ("flow", change)):
                with atomic_path(folder / "features" / stream / f"{video}.npy") as path, path.open("wb") as file:
                    np.save(file, values)
            seconds = _seconds(np.array([[begin, end] for _, begin, end in instances]), time_base)
            database[video] = {
                "subset": subset,
                "duration": float(_seconds(np.array([len(rows)]), time_base)[0]),
                "annotations": [
                    {"label": clips.classes[label], "segment": segment}
                    for (label, _, _), segment in zip(instances, seconds.tolist())
                ],
            }
    found = {"database": database}
    write_json(folder / "annotations.json", found)
    return found


def _seconds(boundaries: np.ndarray, time_base: TimeBase) -> np.ndarray:
    return np.round(boundaries_s(boundaries, **vars(time_base)), 3)


def main(argv: Sequence[str]) -> None:
    """Reads, composes, writes, and says how much there is."""
    del argv
    for name in ("clips", "output_dir", "background"):
        if FLAGS[name].value is None:
            raise UserError(f"--{name} is missing.")
    if not FLAGS.classes or not FLAGS.test_sources:
        raise UserError(
            "--classes and --test_sources are needed: what the clips show, and which are kept for the test."
        )
    clips = read_clips(FLAGS.clips, FLAGS.classes, FLAGS.background)
    kept = {int(source) for source in FLAGS.test_sources}
    test = [source for source in clips.sources if source in kept]
    subsets = {
        "training": ([source for source in clips.sources if source not in kept], FLAGS.train),
        "test": (test, FLAGS.test),
    }
    found = write_sequences(FLAGS.output_dir, clips, subsets, TimeBase(fps=FLAGS.fps), FLAGS.seed)["database"]
    instances = sum(len(video["annotations"]) for video in found.values())
    print(f"{len(found)} sequences composed from real clips, {instances} instances, in {FLAGS.output_dir}")


if __name__ == "__main__":
    run_main(main, register_flags)
