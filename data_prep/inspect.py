"""Command line of the inspection, `python -m data_prep.inspect PATH`.

PATH is a converted data set (a folder with dataset.json) or annotations; for raw inputs with features, give what
`python -m data_prep.convert` is given: --annotations= and --features=. Prints totals, lengths, class balance, how the
features fit the durations, and the problems found; --output_dir= adds a JSON report and an HTML page.
The exit status is 0 when no errors were found, and 1 otherwise.
"""

from __future__ import annotations

import sys

if not __package__:
    # A module of this folder was run by path, and Python looks for modules here first: whatever imports the standard
    # library's `inspect` gets this one, before anything else can go wrong.
    sys.exit(
        "\nerror: a command of data_prep was run by path; expected its name, since this folder's inspect.py would "
        "stand in for Python's own. From the top folder: python -m data_prep.convert (or inspect, ...)."
    )

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from data_prep.annotations import choose_subsets, read_annotations
from data_prep.inputs import options as inputs
from data_prep.inputs.options import chosen_subsets, define_input_flags, input_options, open_inputs
from data_prep.inspection.findings import Inspection, inspect_annotations, inspect_dataset, inspect_inputs, to_json
from data_prep.inspection.page import page
from data_prep.inspection.text import screen
from tc3net.common.errors import UserError
from tc3net.common.files import atomic_path, write_json
from tc3net.common.names import counted
from tc3net.common.storage import path_of
from tc3net.data.schema import FEATURE_DTYPES, MANIFEST_NAME
from tc3net.data.timebase import TimeBase
from tc3net.terminal.command import define_json_flag, print_json, run_main

REPORT_NAME, PAGE_NAME = "inspection.json", "inspection.html"


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the flags; called once, when this file is the program, so that other mains may use the same names."""
    define_input_flags(flag_values)
    flags.adopt_module_key_flags(inputs, flag_values)  # so that --help shows them
    define_json_flag(flag_values)
    flags.DEFINE_string("dataset_dir", None, "Converted data set to verify and describe.", flag_values)
    flags.DEFINE_string(
        "output_dir", None, f"Folder for {REPORT_NAME} and {PAGE_NAME}; none: screen only.", flag_values
    )
    flags.DEFINE_enum(
        "feature_dtype", "float32", FEATURE_DTYPES, "Storage dtype that raw features must fit.", flag_values=flag_values
    )
    flags.DEFINE_bool(
        "keep_late_instances",
        False,
        "Raw inputs: an instance that starts after the end of its video is a warning, not an error.",
        flag_values,
    )


def inspect(values: flags.FlagValues, paths: Sequence[str]) -> Inspection:
    """Inspects what the flags and positional arguments name.

    Args:
        values: the parsed flags.
        paths: positional arguments.

    Raises:
        UserError: nothing is named, or too much, or it cannot be read.
    """
    expected = "expected one PATH, or --dataset_dir=, or --annotations= and possibly --features="
    named = [*paths, *(values[flag].value for flag in ("dataset_dir", "annotations") if values[flag].value)]
    if len(named) != 1:
        raise UserError(f"{len(named)} things to inspect found ({', '.join(named) or 'none'}); {expected}. Give one.")
    path = path_of(named[0])
    if values.dataset_dir or (not values.annotations and (path / MANIFEST_NAME).is_file()):
        if values.features:
            raise UserError(f"{path} is converted data and --features={values.features} raw; {expected}. Drop one.")
        return inspect_dataset(path)
    title = path.resolve().name
    if values.features:
        values.annotations = str(path)  # where it was given as PATH
        inputs = open_inputs(input_options(values))
        return inspect_inputs(title, inputs, values.feature_dtype, keep_late_instances=values.keep_late_instances)
    annotations, words = read_annotations(path, values.annotation_format, values.subset, values.class_list or None)
    line = f"annotations: {path} ({words}), {counted(len(annotations.videos), 'video')}"
    annotations, subset_words, _ = choose_subsets(annotations, chosen_subsets(values), path)
    descriptions = (line, "features:    not given", *subset_words)
    return inspect_annotations(
        title, descriptions, annotations, TimeBase(), keep_late_instances=values.keep_late_instances
    )


def check_output(folder: Path) -> None:
    """Raises when the report must not be written there.

    Raises:
        UserError: a file, or a converted data set, which holds nothing but itself.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: a file; expected a folder, or nothing yet. Give another --output_dir.")
    if (folder / MANIFEST_NAME).exists():
        raise UserError(f"{folder}: holds a converted data set; expected another folder. Give another --output_dir.")


def write_report(inspection: Inspection, folder: Path) -> None:
    """Writes the JSON report and the page; an earlier report is replaced, other files are left alone.

    Raises:
        UserError: the folder or a file cannot be written.
    """
    try:
        write_json(folder / REPORT_NAME, to_json(inspection))
        with atomic_path(folder / PAGE_NAME) as temporary:
            temporary.write_text(page(inspection), encoding="utf-8")
    except OSError as error:
        raise UserError(f"{folder}: writing the report failed ({error}). Give another --output_dir.") from None


def main(argv: Sequence[str]) -> None:
    """Runs the inspection that the command line describes.

    Raises:
        UserError: the command line or the files, or errors were found in the data.
    """
    values = flags.FLAGS
    folder = path_of(values.output_dir) if values.output_dir else None
    if folder is not None:
        check_output(folder)
    inspection = inspect(values, argv[1:])
    print(screen(inspection))
    print_json(to_json(inspection))
    if folder is not None:
        write_report(inspection, folder)
        print(f"\n{folder / PAGE_NAME} has the pictures, {REPORT_NAME} beside it the numbers.")
    errors = inspection.errors()
    if errors:
        rules = ", ".join(dict.fromkeys(problem.rule for problem in errors))
        raise UserError(
            f"{inspection.title}: {len(errors)} error{'s' * (len(errors) > 1)} found ({rules}); expected none. "
            "Correct the files; docs/data.md says what each rule means."
        )


if __name__ == "__main__":
    run_main(main, define_flags, positional="PATH")
