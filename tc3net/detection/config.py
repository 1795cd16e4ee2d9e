"""Every choice between a T-CAM and its detections, in one frozen, validated dataclass; see docs/detection.md."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tc3net.common.config import option
from tc3net.common.errors import UserError
from tc3net.data.streams import RGB_FLOW

MAX_SMOOTHING, MAX_UPSAMPLING = 16, 64  # bounds on the size of the graph and of its tensors


@dataclass(frozen=True)
class DetectionConfig:
    """Choices after training, in the order in which they act. Defaults are the paper's for THUMOS14."""

    fused_weight: float = option(1.0, "Factor of the fused T-CAM in the T-CAM that detection reads.")
    rgb_weight: float = option(0.0, "Factor of the rgb stream's T-CAM in the T-CAM that detection reads.")
    flow_weight: float = option(0.0, "Factor of the flow stream's T-CAM in the T-CAM that detection reads.")
    stream_weights: str = option(
        "", "The same for any streams: name:factor, comma separated, as in flow:1.0,audio:0.5."
    )
    segment_scores: str = option(
        "none",
        "What is thresholded, of each T-CAM before they are added up: none, its values; sigmoid of each class's; or "
        "softmax over the classes (UntrimmedNets).",
        choices=("none", "sigmoid", "softmax"),
    )
    track: str = option(
        "tcam",
        "What is thresholded: tcam; attention, the network's (--attention_head), the same for every class; or product "
        "of the two.",
        choices=("tcam", "attention", "product"),
    )
    class_scores: str = option(
        "tcam",
        "What class filter, class part and --min_probability read of a video: top-k means of the tcam, or of the "
        "product of tcam and attention; or pooled, what the network pooled itself (--pooling_head).",
        choices=("tcam", "product", "pooled"),
    )
    probability: str = option(
        "softmax",
        "Video-level probability: softmax of these over the classes, or sigmoid, of each class by itself (STPN).",
        choices=("softmax", "sigmoid"),
    )
    detection_top_k: str = option(
        "ceil",
        "Rounding of k = segments / top_k_divisor for the class filter and scores: ceil (Sec. 3.2), or floor, at "
        "least 1 (reference code's evaluator).",
        choices=("ceil", "floor"),
    )
    class_filter: str = option(
        "positive",
        "Classes detected in a video: those with a positive top-k mean (Sec. 3.5); half_of_best: also above half of "
        "the video's best one (reference code, THUMOS14); or all.",
        choices=("positive", "half_of_best", "all"),
    )
    max_classes: int = option(0, "Of these classes, at most so many per video, by top-k mean; 0: no limit.")
    min_probability: float = option(
        0.0, "Of these classes, only those of at least this video-level probability (--probability)."
    )
    best_class: bool = option(False, "Where no class passes these, the video's best one does.")
    smoothing: str = option(
        "none",
        "Smoothing of the T-CAM over time: none, gaussian, or savgol (Savitzky-Golay, quadratic).",
        choices=("none", "gaussian", "savgol"),
    )
    smoothing_segments: float = option(
        1.0, "Width of the smoothing, in segments: the Gaussian's sigma, or the h of savgol's window 2h + 1."
    )
    upsampling: int = option(1, "Cells per segment that the T-CAM is linearly interpolated to before thresholding.")
    proposals: str = option(
        "runs",
        "What is detected: runs, maximal ones of segments above a threshold (Sec. 3.5); or boundaries, of the "
        "intervals that --boundary_head regresses from each of these segments the one that stands out most (AutoLoc).",
        choices=("runs", "boundaries"),
    )
    threshold: str = option(
        "midpoint",
        "T-CAM threshold eta: midpoint between the class's minimum and maximum in the video (Sec. 4.1, THUMOS14); "
        "zero (ActivityNet 1.2); range: each of --threshold_levels as a fraction of the way from minimum to maximum; "
        "quantile: each of them as a quantile of the class's values in the video; value: each of them as it is.",
        choices=("midpoint", "zero", "range", "quantile", "value"),
    )
    threshold_levels: str = option(
        "0.5", "Levels from 0 to below 1 for --threshold=range|quantile|value, comma separated."
    )
    min_segments: int = option(1, "Shortest detection, in segments (reference code: 2).")
    score: str = option(
        "peak",
        "Local part of a detection's score: peak, its highest T-CAM value (Sec. 3.5); mean of its values; contrast: "
        "that mean minus the mean in a border around it (outer-inner contrast, AutoLoc). With --proposals=boundaries "
        "it is 1 - OIC, whatever is given here.",
        choices=("peak", "mean", "contrast"),
    )
    score_track: str = option(
        "tcam",
        "Whose values these are: the tcam's; those of the product of tcam and attention; or thresholded, of what is "
        "thresholded (--track, --segment_scores).",
        choices=("tcam", "product", "thresholded"),
    )
    contrast_border: float = option(0.25, "Width of the border on each side, as a fraction of the detection's length.")
    score_scale: str = option(
        "none",
        "Unit of the local part: none, the values themselves; range: scaled to 0..1 per class and video.",
        choices=("none", "range"),
    )
    score_gamma: float = option(1.0, "Score = local part + this times the class part (--score_class).")
    score_class: str = option(
        "top_k_mean",
        "Class part of the score: top_k_mean (Sec. 3.5; what --class_scores names), or the class's video-level "
        "probability (--probability), or that probability's logarithm.",
        choices=("top_k_mean", "probability", "log_probability"),
    )
    nms: str = option(
        "none",
        "What becomes of overlapping detections of a class: none, all stay; hard, non-maximum suppression; soft, "
        "Gaussian soft-NMS.",
        choices=("none", "hard", "soft"),
    )
    nms_tiou: float = option(0.5, "Hard NMS: a detection that overlaps a better one by more than this tIoU is dropped.")
    nms_sigma: float = option(0.5, "Soft NMS: each better one multiplies a positive score by exp(-tIoU^2 / sigma).")
    video_scores: str = option(
        "fused",
        "Video-level class scores: softmax of the fused T-CAM's top-k mean (Sec. 3.5), or sum of the softmaxes of "
        "all T-CAMs, the streams' and the fused one (reference code); see --probability.",
        choices=("fused", "sum"),
    )

    def __post_init__(self) -> None:
        for name in ("fused_weight", "rgb_weight", "flow_weight", "score_gamma"):
            self._require(name, math.isfinite(getattr(self, name)), "a finite number")
        try:
            weights = self.weights
        except ValueError:
            weights = (("", math.nan),)
        names = [name for name, _ in weights]
        sound = all(name and math.isfinite(weight) for name, weight in weights) and len(names) == len(set(names))
        self._require("stream_weights", sound, "name:factor, comma separated, each name once (see also --rgb_weight)")
        self._require("max_classes", self.max_classes >= 0, "0 (no limit) or more")
        self._require("min_probability", 0 <= self.min_probability <= 1, "a probability from 0 to 1")
        width = self.smoothing_segments
        self._require("smoothing_segments", 0 < width <= MAX_SMOOTHING, f"more than 0, at most {MAX_SMOOTHING}")
        if self.smoothing == "savgol":
            self._require("smoothing_segments", width == int(width), "a whole number with --smoothing=savgol")
        self._require("upsampling", 1 <= self.upsampling <= MAX_UPSAMPLING, f"1 to {MAX_UPSAMPLING}")
        self._require("min_segments", self.min_segments >= 1, "1 or more segments")
        self._require("contrast_border", 0 < self.contrast_border <= 10, "more than 0, at most 10")
        self._require("nms_tiou", 0 <= self.nms_tiou <= 1, "a tIoU from 0 to 1")
        self._require("nms_sigma", 0 < self.nms_sigma < math.inf, "a positive number")
        try:
            levels = self.levels
        except ValueError:
            levels = ()
        sound = bool(levels) and all(0 <= a < 1 for a in levels) and all(a < b for a, b in zip(levels, levels[1:]))
        self._require("threshold_levels", sound, "increasing numbers from 0 to below 1, comma separated")

    def _require(self, name: str, fulfilled: bool, expected: str) -> None:
        if not fulfilled:
            raise UserError(f"--{name}={getattr(self, name)}; expected {expected}.")

    @property
    def levels(self) -> tuple[float, ...]:
        """`threshold_levels` as numbers."""
        return tuple(float(text) for text in self.threshold_levels.split(","))

    @property
    def weights(self) -> tuple[tuple[str, float], ...]:
        """(stream, factor) of every stream that detection reads beside the fused T-CAM, in order."""
        named = [(name, getattr(self, f"{name}_weight")) for name in RGB_FLOW]
        parts = [part.rpartition(":") for part in self.stream_weights.split(",") if part.strip()]
        given = [(name.strip(), float(weight)) for name, _, weight in parts]
        return tuple((name, weight) for name, weight in (*named, *given) if weight != 0)

    @property
    def needs_streams(self) -> bool:
        """Whether the T-CAMs of the single streams are read, beside the fused one."""
        return bool(self.weights)

    @property
    def needs_boundaries(self) -> bool:
        """Whether boundaries that the network regresses are read."""
        return self.proposals == "boundaries"

    @property
    def needs_attention(self) -> bool:
        """Whether the network's attention is read."""
        return self.track != "tcam" or self.class_scores == "product" or self.score_track == "product"
