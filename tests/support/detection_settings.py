"""Random detection settings, for what is tested under every one of them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

LEVELS = ("0.5", "0.25", "0,0.5", "0.25,0.5,0.75", "0,0.125,0.25,0.375,0.5,0.625,0.75,0.875")
# Settings under which every number that a decision turns on is exact in float32, where T-CAMs are multiples of 1/8.
EXACT: dict[str, Any] = {
    "class_filter": st.sampled_from(["positive", "half_of_best", "all"]),
    "max_classes": st.integers(0, 2),
    "best_class": st.booleans(),
    "detection_top_k": st.sampled_from(["ceil", "floor"]),
    "upsampling": st.sampled_from([1, 2, 4]),
    "threshold": st.sampled_from(["midpoint", "zero", "range", "quantile", "value"]),
    "threshold_levels": st.sampled_from(LEVELS),
    "min_segments": st.integers(1, 3),
    "score": st.just("peak"),
    "score_class": st.sampled_from(["top_k_mean", "probability", "log_probability"]),
    "score_gamma": st.sampled_from([1.0, 0.0, 0.5, -0.25]),
    "nms": st.sampled_from(["none", "hard"]),
    "nms_tiou": st.sampled_from([0.0, 0.25, 0.5, 1.0]),
}
ALL: dict[str, Any] = {
    **EXACT,
    "min_probability": st.sampled_from([0.0, 0.1, 0.4]),
    "probability": st.sampled_from(["softmax", "sigmoid"]),
    "smoothing": st.sampled_from(["none", "gaussian", "savgol"]),
    "smoothing_segments": st.sampled_from([1.0, 2.0, 3.0]),
    "upsampling": st.integers(1, 5),
    "threshold_levels": st.sampled_from([*LEVELS, "0.1,0.3,0.4", "0.6,0.7,0.95"]),
    "score": st.sampled_from(["peak", "mean", "contrast"]),
    "score_scale": st.sampled_from(["none", "range"]),
    "contrast_border": st.sampled_from([0.25, 0.3, 1.0]),
    "nms": st.sampled_from(["none", "hard", "soft"]),
    "nms_sigma": st.sampled_from([0.1, 0.5]),
}
