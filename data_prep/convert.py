"""Command line of the conversion, `python -m data_prep.convert --annotations= --features= --output_dir= --name=`.

Writes TFRecord shards and `dataset.json`. The layouts in which features and annotations are passed around are
recognised where they are clear; `data_prep.inputs.options` has the flags for the others.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

from data_prep.annotations import read_class_file
from data_prep.conversion.engine_workers import convert_on
from data_prep.conversion.pipeline import ConvertOptions, convert
from data_prep.inputs import options as inputs
from data_prep.inputs.options import define_input_flags, input_options
from tc3net.common.errors import UsageError, UserError
from tc3net.common.storage import path_of
from tc3net.data.schema import FEATURE_DTYPES
from tc3net.engines import engine as engines
from tc3net.engines.engine import define_engine_flags, engine_choice
from tc3net.terminal.command import run_main


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the flags; called once, when this file is the program, so that other mains may use the same names."""
    define_conversion_flags(flag_values)
    define_engine_flags(flag_values)
    flags.adopt_module_key_flags(engines, flag_values)  # so that --help shows them


def define_conversion_flags(flag_values: flags.FlagValues) -> None:
    """Defines the flags that say what is converted."""
    define_input_flags(flag_values)
    flags.adopt_module_key_flags(inputs, flag_values)  # so that --help shows them
    flags.DEFINE_string(
        "output_dir", None, "Folder (or gs://...) to create, or to replace by the same data set.", flag_values
    )
    flags.DEFINE_string("name", None, "The data set's name.", flag_values)
    flags.DEFINE_integer("videos_per_shard", 64, "Videos per TFRecord file.", flag_values=flag_values)
    flags.DEFINE_integer("num_workers", 1, "Processes that read features and write shards.", flag_values=flag_values)
    flags.DEFINE_enum("feature_dtype", "float32", FEATURE_DTYPES, "Storage dtype.", flag_values=flag_values)
    flags.DEFINE_string(
        "counted_classes",
        None,
        "Classes whose instances are annotated: comma-separated, or a file (one per line, or .npy). "
        "Default: every class with an instance.",
        flag_values,
    )
    flags.DEFINE_bool("skip_bad_videos", False, "Leave videos with errors out instead of stopping.", flag_values)
    flags.DEFINE_bool(
        "keep_late_instances",
        False,
        "Keep instances that start after the end of their video as ground truth, uncounted, instead of stopping.",
        flag_values,
    )


def read_class_names(value: str) -> tuple[str, ...]:
    """Class names from a flag: a file with one name per line, a `.npy` array of names, or names separated by commas.

    Raises:
        UserError: the file is damaged, or no name is in it.
    """
    path = path_of(value)
    is_file = path.suffix == ".npy" or path.is_file()
    names = read_class_file(path) if is_file else tuple(value.split(","))
    stripped = tuple(name.strip() for name in names if name.strip())
    if not stripped:
        raise UserError(f"counted classes {value!r}: no names found; expected at least one. Correct --counted_classes.")
    return stripped


def options_from_flags(values: flags.FlagValues) -> ConvertOptions:
    """The flags as options.

    Raises:
        UserError: a required flag is missing, or a value is out of range.
    """
    sources = input_options(values)
    for name in ("output_dir", "name"):
        if not values[name].value:
            raise UsageError(f"--{name} is not set; expected a value ({values[name].help}). Add --{name}=...")
    return ConvertOptions(
        inputs=sources,
        output_dir=values.output_dir,
        name=values.name,
        videos_per_shard=values.videos_per_shard,
        feature_dtype=values.feature_dtype,
        counted_classes=None if values.counted_classes is None else read_class_names(values.counted_classes),
        skip_bad_videos=values.skip_bad_videos,
        keep_late_instances=values.keep_late_instances,
        num_workers=values.num_workers,
    )


def main(argv: Sequence[str]) -> None:
    """Runs the conversion that the flags describe."""
    del argv
    options, choice = options_from_flags(flags.FLAGS), engine_choice(flags.FLAGS)
    if choice.is_local:
        convert(options)
    else:
        convert_on(choice, options, "convert without it: --engine=local --num_workers=...")


if __name__ == "__main__":
    run_main(main, define_flags)
