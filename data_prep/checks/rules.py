"""The rules that data are judged by: every finding has a name, and every name a stated consequence.

An *error* makes a video unusable or shows that its annotation is surely wrong; the conversion stops, or leaves the
video out when asked to. A *warning* is something real data sets contain and this project has an answer to.
"""

from __future__ import annotations

from dataclasses import dataclass

ERROR = "error"
WARNING = "warning"
DATA_SET = "data set"  # what a finding is about that no single video shows; its message is said on the screen

# rule -> (severity, what it means for the data set)
RULES: dict[str, tuple[str, str]] = {
    "unsafe_name": (ERROR, "video id or subset cannot be part of a file name"),
    "duplicate_id": (ERROR, "several videos have the same id"),
    "bad_duration": (ERROR, "duration is not a positive number"),
    "unknown_class": (ERROR, "class is not in the class list"),
    "bad_interval": (ERROR, "interval ends before it starts, or is not finite"),
    "starts_after_video": (ERROR, "instance starts at or after the end of the video (see --keep_late_instances)"),
    "late_instance": (WARNING, "instance starts at or after the end of the video: kept as ground truth, not counted"),
    "spreadsheet_damage": (ERROR, "video id or class is what a spreadsheet made of it (#NAME?, 2.19E+26)"),
    "no_features": (ERROR, "annotated video without features"),
    "no_annotation": (ERROR, "features without annotation"),
    "bad_features": (ERROR, "features cannot be used"),
    "feature_dim": (ERROR, "feature dims differ from the other videos'"),
    "feature_range": (ERROR, "feature values do not fit the storage dtype"),
    "all_zero": (ERROR, "features of rgb and of flow are all zero: a placeholder, not an extraction"),
    "ends_after_video": (WARNING, "instance ends after the video: kept as annotated"),
    "starts_before_video": (WARNING, "instance starts before 0 s: kept as annotated"),
    "zero_length": (WARNING, "instance of zero length: kept as ground truth, not counted"),
    "after_features": (WARNING, "instance starts after the last feature row: kept as ground truth, not counted"),
    "exact_duplicate": (WARNING, "instance listed more than once: kept as ground truth, counted once"),
    "labels_differ": (WARNING, "video-level labels differ from the instances': union used"),
    "length_differs": (WARNING, "features and duration differ by > 2 s and 5 %: kept; check fps and stride"),
    "similar_ids": (WARNING, "ids that differ only in spelling: kept as different videos"),
    "no_labels": (WARNING, "video without any class: kept, absent from the classification and center losses"),
    "class_missing": (WARNING, "class that no video of a subset has: kept in the class list"),
    # A still picture gives such rows as well as a broken extraction, and rgb alone is often padded with a zero stream:
    # whether they are wrong is for the owner of the data to say, so none of these stops a conversion. Nothing can be
    # learnt from or found in a video where both streams are zero; that is an error ("all_zero").
    "zero_rows": (WARNING, "feature rows that are all zero: kept; check the extraction, or for padding"),
    "constant_features": (WARNING, "a stream whose rows are all equal: kept, though it tells nothing about time"),
    "same_streams": (WARNING, "rgb and flow are the same array: kept; check the flow features"),
    "same_features": (WARNING, "videos with identical features: kept; check for one video under two names"),
    # Of the data set as a whole (`data_prep.checks.plausible`).
    "ids_differ": (WARNING, "ids of annotations and features differ alike: not matched; rename one side"),
    "transposed": (WARNING, "features look like [D, segments]: taken as [segments, D]; transpose them"),
    "wrong_rate": (WARNING, "features and durations differ by one factor: kept; check fps, stride, unit of durations"),
    "other_order": (WARNING, "features do not fit durations, by no common factor: kept; check their order"),
    "fps_unchecked": (WARNING, "durations known from features alone: fps and stride were not checked"),
    "time_unit": (WARNING, "times look like another unit than seconds: taken as seconds"),
    "duration_of_instance": (WARNING, "durations are those of instances: kept; give those of the videos"),
    "one_class": (WARNING, "a single class to train on: kept; the classification loss is 0, or soon will be"),
    "no_training_labels": (WARNING, "subset without any class: kept; its losses are 0 throughout"),
    # Of converted data sets.
    "bad_manifest": (ERROR, "dataset.json contradicts itself or the shards"),
    "bad_shard": (ERROR, "shard is absent, damaged, or not the one that was written"),
    "bad_record": (ERROR, "record is damaged, or contradicts itself or dataset.json"),
    "unlisted_file": (WARNING, "file that dataset.json does not list: ignored"),
}


@dataclass(frozen=True)
class Problem:
    """One finding; `rule` is a key of `RULES`.

    Attributes:
        video_id: the video, or what else the finding is about ("Run (test)": a class in a subset; a file's name).
        rule: its name.
        message: what was found.
    """

    video_id: str
    rule: str
    message: str

    @property
    def severity(self) -> str:
        """ERROR or WARNING."""
        return RULES[self.rule][0]
