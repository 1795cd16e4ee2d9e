"""Whether memory grows with the length of a video: decoding, preparing, a network, and writing, all together.

    python -m benchmarks.extract_memory --work_dir=/tmp/benchmark_memory [--frames=4000] [--lengths=1,4,16]

Videos of --frames frames, and of the multiples that --lengths names, are written and extracted, each in a process of
its own, by an I3D of few channels, so that the network takes no time; rows are as wide as I3D's. The last line is one
JSON object: peak_mb, the largest resident memory of each process, by length; peak_ratio, that of the longest video over
that of the shortest (goal: at most 1.1).
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from absl import flags

from benchmarks.work_folder import work_folder
from data_prep.extraction.backbones import Backbone
from data_prep.extraction.decoding import import_av
from data_prep.extraction.extracting import Extraction, Extractor
from data_prep.extraction.inception import FEATURES, InceptionPlan
from data_prep.extraction.sampling import Sampling
from data_prep.extraction.weights import random_weights
from tc3net.terminal.command import run_main

FLAGS = flags.FLAGS
HEIGHT, WIDTH = 96, 128
SAMPLING = Sampling(short_side=64, size=56)
_ROW = 1024  # numbers


def register_flags() -> None:
    """Defines this command's flags."""
    flags.DEFINE_string("work_dir", None, "Folder for the videos and their features; emptied at the end.")
    flags.DEFINE_integer("frames", 4000, "Length of the shortest video.")
    flags.DEFINE_list("lengths", ["1", "4", "16"], "Multiples of it.")
    flags.DEFINE_string("only", None, "Extract this video and print the peak: what the processes are started with.")


def write_video(path: Path, frames: int) -> None:
    """A picture that moves."""
    av = import_av()
    picture = np.random.default_rng(0).integers(0, 255, (HEIGHT, 2 * WIDTH, 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        for number in range(frames):
            image = picture[:, number % WIDTH : number % WIDTH + WIDTH]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def narrow_network() -> Backbone:
    """I3D's layers with few channels, and rows as wide as the published network's."""
    import tensorflow as tf

    from data_prep.extraction.network import I3D

    names = ("3b", "3c", "4b", "4c", "4d", "4e", "4f", "5b", "5c")
    plan = InceptionPlan(stem=(3, 2, 4), mixed={f"Mixed_{name}": (2, 1, 2, 1, 2, 2) for name in names})
    model = I3D(plan, random_weights(plan, 0), (FEATURES,))

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, None, 3], tf.float32)])
    def features(clips: tf.Tensor) -> tf.Tensor:
        return tf.repeat(model(clips)[FEATURES], _ROW // plan.feature_dim, axis=1)

    return Backbone("narrow", lambda clips: features(clips).numpy(), SAMPLING, "made up")


def extract(path: Path) -> float:
    """Extracts a video; the peak of this process's resident memory, in MB."""
    Extractor(Extraction({"rgb": narrow_network()}), path.with_suffix("")).run({path.stem: path})
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(argv: Sequence[str]) -> None:
    """Measures each length, and prints the result."""
    del argv
    if FLAGS.only:
        print(extract(Path(FLAGS.only)))
        return
    peaks = {}
    with work_folder(FLAGS.work_dir) as work:
        for length in map(int, FLAGS.lengths):
            path = work / f"video_{length}.avi"
            write_video(path, length * FLAGS.frames)
            command = [sys.executable, "-m", "benchmarks.extract_memory", f"--only={path}"]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            peaks[length] = round(float(done.stdout.split()[-1]), 1)
            print(f"{length * FLAGS.frames} frames: {peaks[length]} MB", flush=True)
            path.unlink()
    ratio = round(peaks[max(peaks)] / peaks[min(peaks)], 3)
    print(json.dumps({"frames": FLAGS.frames, "peak_mb": peaks, "peak_ratio": ratio}))


if __name__ == "__main__":
    run_main(main, register_flags)
