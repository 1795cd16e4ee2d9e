"""The conversion as an Apache Beam pipeline, `python -m data_prep.beam` with the flags of `data_prep.convert`.

For data beyond one machine. The driver plans, judges and puts the folder in its place exactly as the local conversion
does; only the steps that read features run on the cluster, so that shards and manifest are the same to the byte.
Features and output have to lie where the driver and every worker see them under the same path.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

from data_prep.conversion.engine_workers import convert_on
from data_prep.conversion.pipeline import ConvertOptions
from data_prep.convert import define_conversion_flags, options_from_flags
from tc3net.data.schema import Manifest
from tc3net.engines.beam import define_beam_flag
from tc3net.engines.engine import EngineChoice
from tc3net.terminal.command import run_main


def convert_on_beam(options: ConvertOptions, beam_options: Sequence[str] = ()) -> Manifest:
    """Converts one data set; the same files and manifest as `data_prep.conversion.pipeline.convert`.

    Args:
        options: what to convert; `num_workers` must be 1, since the runner has its own options for that.
        beam_options: of Beam and its runner, as `name` or `name=value`.

    Returns:
        The manifest, as written to `dataset.json`.

    Raises:
        UserError: Beam is not installed, or see `data_prep.conversion.pipeline.convert`.
    """
    otherwise = "convert without it: python -m data_prep.convert --num_workers=..."
    return convert_on(EngineChoice("beam", tuple(beam_options)), options, otherwise)


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the flags of the conversion, and those of Beam."""
    define_conversion_flags(flag_values)
    define_beam_flag(flag_values)


def main(argv: Sequence[str]) -> None:
    """Runs the conversion that the flags describe."""
    del argv
    convert_on_beam(options_from_flags(flags.FLAGS), flags.FLAGS.beam_option)


if __name__ == "__main__":
    run_main(main, define_flags)
