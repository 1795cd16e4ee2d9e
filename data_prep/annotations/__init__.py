"""Annotations in whichever format they are.

Each format is an `AnnotationFormat` with a module of its own, and a row in `formats`: it recognises its files and turns
them into an `AnnotationSet` (`records`). It refuses files it cannot read; it does not judge what it read: whether
intervals, names and labels make sense is decided in `data_prep.checks.judge`, once for all formats.
"""

from data_prep.annotations.formats import add_format, format_names, read_annotations
from data_prep.annotations.records import (
    AnnotationFormat,
    AnnotationSet,
    Instance,
    VideoRecord,
    beginning_of,
    checked_classes,
    read_class_file,
    read_class_list,
)
from data_prep.annotations.tidy import choose_subsets

__all__ = [
    "AnnotationFormat",
    "AnnotationSet",
    "Instance",
    "VideoRecord",
    "add_format",
    "beginning_of",
    "checked_classes",
    "choose_subsets",
    "format_names",
    "read_annotations",
    "read_class_file",
    "read_class_list",
]
