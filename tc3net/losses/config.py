"""Every choice of the three losses (Eq. 1-10), in one frozen, validated dataclass; configs/ has the paper's values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tc3net.common.config import option
from tc3net.common.errors import UserError
from tc3net.losses.count_estimators import ESTIMATORS, FROM_DATA, MAX_LENGTH

MAX_SMOOTHING = 16  # bounds the size of the graph


@dataclass(frozen=True)
class LossConfig:
    """Choices of Eq. 1-10. Defaults are the paper's for THUMOS14; docs/training.md lists the reference code's."""

    classification_weight: float = option(
        1.0, "Weight of the classification loss (Eq. 3); 0 switches it off, for losses of classes that replace it."
    )
    alpha: float = option(1e-3, "Weight of the center loss (Eq. 1); 0 switches it off, centers included.")
    beta: float = option(1.0, "Weight of the counting loss (Eq. 1); 0 switches it off. ActivityNet 1.2: 0.1.")
    count_negative_weight: float = option(1e-3, "lambda of Eq. 10: weight of the counts of absent classes.")
    classification_tcams: str = option(
        "all",
        "T-CAMs with a classification loss: all (Eq. 3: each stream's and the fused one; of a single stream the fused "
        "one, which is that stream's), or the fused one alone (ablation, Fig. 3).",
        choices=("all", "fused"),
    )
    top_k_divisor: int = option(8, "k of the top-k pooling is the number of segments divided by this (Sec. 3.2).")
    attention_axis: str = option(
        "time",
        "Axis that Eq. 4's softmax normalises over: time (the paper's text) or class (its formula as printed).",
        choices=("time", "class"),
    )
    attention_threshold: str = option(
        "median",
        "Attention weights below this statistic over time are set to 0: median (paper) or mean (reference code).",
        choices=("median", "mean"),
    )
    center_streams: str = option(
        "all",
        "Streams with a center loss: all (Eq. 8), or those named, comma separated (ablation, Fig. 3: flow, or rgb). "
        "both is another word for all.",
    )
    center_normalization: str = option(
        "videos",
        "Center loss divided by the number of videos (Eq. 6), or by the squared number of (video, class) pairs "
        "(reference code).",
        choices=("videos", "pairs_squared"),
    )
    center_multi_label_from_step: int = option(
        0, "Training step from which multi-label videos take part in the center loss (reference code: 5000)."
    )
    center_learning_rate: float = option(0.1, "Learning rate of the centers' own update (Sec. 4.1).")
    count_estimator: str = option(
        "attention",
        "What the counting loss compares with the annotated counts: attention (Eq. 9, a weighted mean of the T-CAM), "
        "or an estimated number of instances: edges, runs, peaks or mass (docs/counting.md).",
        choices=("attention", *ESTIMATORS),
    )
    count_temperature: float = option(
        0.1, "Width of the soft threshold of these estimators, as a fraction of the T-CAM's range in the video."
    )
    count_smoothing: float = option(
        0.0, "They read the T-CAM smoothed over time by a Gaussian of this sigma, in segments; 0: as it is."
    )
    count_length: int = option(
        5,
        "Segments of the window of --count_estimator=peaks, or of a usual instance for mass (THUMOS14's median: 5). 0, "
        "for peaks: 1.5 times the time that the T-CAM has above the threshold for each annotated instance.",
    )
    count_start_step: int = option(0, "Training step from which the counting loss acts.")
    count_ramp_steps: int = option(0, "Steps after that over which its weight rises linearly to --beta.")
    count_positives: str = option(
        "all",
        "Classes with a positive count: all (Eq. 10), or below_length: those with a count below the number of "
        "segments, the others being treated as absent (reference code).",
        choices=("all", "below_length"),
    )
    count_error: str = option(
        "relative",
        "Count error of present classes: relative, |m - n| / n (Eq. 10); absolute, |m - n|; or log, "
        "|ln((1 + m) / (1 + n))|, which punishes half and double the count alike.",
        choices=("relative", "absolute", "log"),
    )
    count_tolerance: float = option(
        0.0, "Error up to which a count is right, of --count_error=log: max(0, error - this) is what is punished."
    )

    def __post_init__(self) -> None:
        if self.center_streams == "both":  # what "all" was called when there were always two
            object.__setattr__(self, "center_streams", "all")
        for name in (
            "classification_weight", "alpha", "beta", "count_negative_weight", "center_multi_label_from_step",
            "count_start_step", "count_ramp_steps",
        ):  # fmt: skip
            if not 0 <= getattr(self, name) < float("inf"):
                raise UserError(f"--{name}={getattr(self, name)}; expected 0 or a positive number.")
        if self.top_k_divisor < 1:
            raise UserError(f"--top_k_divisor={self.top_k_divisor}; expected 1 or more (the paper uses 8).")
        if not 0 < self.center_learning_rate <= 1:
            raise UserError(
                f"--center_learning_rate={self.center_learning_rate}; expected a value in (0, 1] (the paper uses 0.1): "
                "above 1 the centers overshoot the features they follow."
            )
        if self.count_error == "log" and self.count_estimator == "attention":
            raise UserError(
                "--count_error=log with --count_estimator=attention, whose counts may be negative; expected an "
                f"estimate of the number of instances: {', '.join(ESTIMATORS)}."
            )
        if (self.count_tolerance and self.count_error != "log") or not 0 <= self.count_tolerance < float("inf"):
            raise UserError(
                f"--count_tolerance={self.count_tolerance} with --count_error={self.count_error}; expected 0, or with "
                "--count_error=log a positive number. Correct either."
            )
        if self.count_length == FROM_DATA and self.count_estimator != "peaks":
            raise UserError(
                f"--count_length=0 with --count_estimator={self.count_estimator}; expected it with peaks, whose "
                f"windows it finds from the data. Give 1 to {MAX_LENGTH} segments."
            )
        if not 0 < self.count_temperature <= 1:
            raise UserError(
                f"--count_temperature={self.count_temperature}; expected more than 0, at most 1 (the T-CAM's range)."
            )
        if not 0 <= self.count_smoothing <= MAX_SMOOTHING:
            raise UserError(f"--count_smoothing={self.count_smoothing}; expected 0 to {MAX_SMOOTHING} segments.")
        if not 0 <= self.count_length <= MAX_LENGTH:
            raise UserError(
                f"--count_length={self.count_length}; expected 1 to {MAX_LENGTH} segments, or 0 with peaks."
            )

    def classified(self, streams: Sequence[str]) -> tuple[str, ...]:
        """T-CAMs with a classification loss: of one stream, whose fused T-CAM is w ⊙ C, it is not counted twice.

        Args:
            streams: names of the network's.
        """
        return (*streams, "fused") if self.classification_tcams == "all" and len(streams) > 1 else ("fused",)

    def centered(self, streams: Sequence[str]) -> tuple[str, ...]:
        """Streams with a center loss.

        Args:
            streams: names of the network's.

        Raises:
            UserError: `center_streams` names others.
        """
        named = tuple(streams) if self.center_streams == "all" else tuple(self.center_streams.split(","))
        if unknown := [name for name in named if name not in streams]:
            raise UserError(
                f"--center_streams={self.center_streams}: no stream is named {', '.join(unknown)}; expected all, or "
                f"some of {', '.join(streams)}."
            )
        return tuple(name for name in streams if name in named) if self.alpha != 0 else ()
