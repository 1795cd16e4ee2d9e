"""Search for detection settings on raw scores of annotated videos: what is tried, its worth, and when to believe it.

A search over hundreds of settings on a few dozen videos finds some that are good on these videos by chance. Therefore a
setting only takes the incumbent's place if its gain exceeds the gain's standard error, estimated from what the gain
would be without each tenth of the videos (a delete-a-group jackknife over videos).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from tc3net.common.errors import UserError
from tc3net.data.streams import RGB_FLOW
from tc3net.detection import DetectionConfig, detect_videos
from tc3net.evaluation import Bootstrap, Matches, find_protocol, match_localization
from tc3net.evaluation.resampling import resampled_ap
from tc3net.inference.raw_scores import RawScores
from tc3net.results.assessment import grid_for
from tc3net.results.sources import annotated_videos

Alternatives = tuple[dict[str, Any], ...]
OBJECTIVES = ("both", "map50", "average")


def _levels(first: float, last: float, step: float) -> str:
    count = round((last - first) / step) + 1
    return ",".join(f"{first + number * step:.4g}" for number in range(count))


def stream_alternatives(streams: Sequence[str]) -> Alternatives:
    """Weights of the fused T-CAM and one stream's: none, and half and all of each stream's."""
    if tuple(streams) == RGB_FLOW:
        pairs = ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.0, 1.0), (1.0, 0.0))
        return tuple({"fused_weight": 1.0, "rgb_weight": rgb, "flow_weight": flow} for rgb, flow in pairs)
    choices = ["", *(f"{name}:{weight}" for name in streams for weight in (0.5, 1.0))]
    return tuple({"fused_weight": 1.0, "stream_weights": text} for text in choices)


# One axis per choice; on each, settings that belong together. The first of each axis is the paper's.
SPACE: dict[str, Alternatives] = {
    "streams": stream_alternatives(RGB_FLOW),  # `open_axes` puts in those of the scores
    "classes": (
        {"class_filter": "positive", "max_classes": 0, "min_probability": 0.0},
        {"class_filter": "half_of_best", "max_classes": 0, "min_probability": 0.0},
        {"class_filter": "positive", "max_classes": 1, "min_probability": 0.0},
        {"class_filter": "all", "max_classes": 2, "min_probability": 0.0},
        {"class_filter": "all", "max_classes": 5, "min_probability": 0.0},
        {"class_filter": "all", "max_classes": 0, "min_probability": 0.02},
        {"class_filter": "all", "max_classes": 0, "min_probability": 0.1},
    ),
    "segments": (
        {"segment_scores": "none", "score_track": "tcam"},
        {"segment_scores": "sigmoid", "score_track": "thresholded"},
        {"segment_scores": "softmax", "score_track": "thresholded"},
    ),
    "smoothing": (
        {"smoothing": "none"},
        *({"smoothing": "gaussian", "smoothing_segments": sigma} for sigma in (0.5, 0.7, 1.0, 1.5, 2.0, 3.0)),
        *({"smoothing": "savgol", "smoothing_segments": reach} for reach in (2.0, 3.0, 5.0)),
    ),
    "upsampling": ({"upsampling": 1}, {"upsampling": 2}, {"upsampling": 4}),
    "threshold": (
        {"threshold": "midpoint"},
        {"threshold": "zero"},
        *({"threshold": "range", "threshold_levels": level} for level in ("0.3", "0.35", "0.4", "0.45")),
        {"threshold": "range", "threshold_levels": "0.05," + _levels(0.1, 0.9, 0.1)},
        *(
            {"threshold": "range", "threshold_levels": _levels(first, last, step)}
            for first, last, step in (
                (0.1, 0.9, 0.1), (0.2, 0.8, 0.1), (0.3, 0.6, 0.1),
                (0.3, 0.7, 0.05), (0.3, 0.6, 0.05), (0.35, 0.55, 0.025),
            )
        ),
        {"threshold": "quantile", "threshold_levels": "0.6"},
        {"threshold": "quantile", "threshold_levels": _levels(0.3, 0.9, 0.1)},
        {"threshold": "quantile", "threshold_levels": _levels(0.5, 0.95, 0.05)},
    ),
    "min_segments": ({"min_segments": 1}, {"min_segments": 2}, {"min_segments": 3}),
    "score": (
        {"score": "peak"},
        {"score": "mean"},
        *({"score": "contrast", "contrast_border": border} for border in (0.15, 0.25, 0.35, 0.5)),
    ),
    "score_scale": ({"score_scale": "none"}, {"score_scale": "range"}),
    "score_class": (
        {"score_class": "top_k_mean", "score_gamma": 1.0},
        {"score_class": "top_k_mean", "score_gamma": 0.0},
        {"score_class": "top_k_mean", "score_gamma": 0.1},
        {"score_class": "top_k_mean", "score_gamma": 0.3},
        {"score_class": "top_k_mean", "score_gamma": 0.5},
        *({"score_class": "probability", "score_gamma": gamma} for gamma in (0.2, 0.5, 2.0, 5.0)),
        *({"score_class": "log_probability", "score_gamma": gamma} for gamma in (0.1, 0.5, 1.0)),
    ),
    "nms": (
        {"nms": "none"},
        *({"nms": "hard", "nms_tiou": tiou} for tiou in (0.0, 0.1, 0.2, 0.3, 0.5)),
        *({"nms": "soft", "nms_sigma": sigma} for sigma in (0.05, 0.1, 0.2, 0.3, 0.5)),
    ),
}  # fmt: skip


# In place of "segments", of scores that hold an attention.
ATTENDED: Alternatives = tuple(
    {"track": track, "score_track": scored, "class_scores": classes}
    for track, scored, classes in (
        ("tcam", "tcam", "tcam"), ("attention", "product", "product"), ("product", "product", "product"),
        ("product", "product", "tcam"), ("attention", "tcam", "tcam"), ("tcam", "product", "product"),
    )
)  # fmt: skip


# And of scores that hold boundaries.
BOUNDED: Alternatives = ({"proposals": "runs"}, {"proposals": "boundaries"})


def open_axes(
    fixed: Collection[str], streams: Sequence[str], attended: bool = False, bounded: bool = False
) -> dict[str, Alternatives]:
    """The axes of `SPACE` that are searched: not those with a setting that is fixed, nor those without the data.

    Args:
        fixed: names of settings that stay as they are.
        streams: names of the streams whose T-CAMs the scores hold; of a single one, which the fused T-CAM is a multiple
            of, there is nothing to weigh.
        attended: whether the scores hold an attention.
        bounded: whether they hold boundaries.
    """
    space = {**SPACE, "streams": stream_alternatives(streams)} if len(streams) > 1 else {**SPACE}
    if attended:
        del space["segments"]
        space["attention"] = ATTENDED
    if bounded:
        space["proposals"] = BOUNDED
    return {
        name: alternatives
        for name, alternatives in space.items()
        if not {key for choice in alternatives for key in choice} & set(fixed)
        and (len(streams) > 1 or name != "streams")
    }


@dataclass(frozen=True)
class Trial:
    """One setting that was tried.

    Attributes:
        config: the setting.
        value: the objective on all videos, 0 to 1.
        without: [G], the objective without each group of videos.
        numbers: on all videos, by name: the mAP at the protocol's main tIoU ("map50" for 0.5), and its main average
            ("average").
        accepted: whether it took the incumbent's place.
    """

    config: DetectionConfig
    value: float
    without: np.ndarray
    numbers: dict[str, float]
    accepted: bool = False


def gain(trial: Trial, incumbent: Trial) -> tuple[float, float]:
    """How much better a trial is on all videos, and the standard error of that (delete-a-group jackknife)."""
    differences = trial.without - incumbent.without
    groups = len(differences)
    error = np.sqrt((groups - 1) / groups * np.sum((differences - differences.mean()) ** 2))
    return trial.value - incumbent.value, float(error)


class Objective:
    """What a setting is worth on annotated videos.

    Args:
        scores: raw scores; several (of models that were each trained without their videos) count equally.
        protocol: of the mAP.
        objective: "map50", the mAP at the protocol's main tIoU (0.5 in those of the package); "average", its main
            average, or the mean over its thresholds where it names none; "both", their mean.
        groups: number of groups that the annotated videos of each file are divided into, in turn; half their number
            where that is less.

    Raises:
        UserError: unknown protocol; fewer than 4 annotated videos; different time bases where it needs a grid.
    """

    def __init__(self, scores: Sequence[RawScores], protocol: str, objective: str, groups: int = 10) -> None:
        self.scores, self.protocol, self.groups = scores, find_protocol(protocol), groups
        self.columns = {"map50": [0], "average": [1], "both": [0, 1]}[objective]
        self.names = (f"map{100 * self.protocol.main_tiou:g}", "average")
        self.grids = [grid_for(annotated_videos(part), [protocol]) for part in scores]
        for part in scores:
            if len(part.ground_truth.video_ids) < 4:
                raise UserError(
                    f"{len(part.ground_truth.video_ids)} videos with temporal annotation to tune on; expected 4 at the "
                    "very least, better 50. Hold out more videos from training."
                )

    def _numbers(self, matches: Matches) -> np.ndarray:
        """[1 + groups, 2]: mAP at the main tIoU and main average of all videos, then without each group."""
        videos = len(matches.scored_videos)
        count = min(self.groups, max(videos // 2, 1))
        left_out = np.arange(videos) % count == np.arange(count)[:, np.newaxis]
        weights = np.concatenate([np.ones((1, videos)), 1.0 - left_out])
        result = Bootstrap(matches.protocol, matches.tious, 0.0, 0, resampled_ap(matches, weights))
        average = result.averages.get(self.protocol.main_average or "", result.map.mean(axis=1))
        return np.stack([result.map[:, self.protocol.main_row(matches.tious)], average], axis=1)

    def __call__(self, config: DetectionConfig) -> Trial:
        """Detects and evaluates."""
        numbers = [
            self._numbers(
                match_localization(self.protocol, part.ground_truth, detect_videos(part, config), time_base=grid)
            )
            for part, grid in zip(self.scores, self.grids)
        ]
        values = [part[:, self.columns].mean(axis=1) for part in numbers]  # per file [1 + groups]
        full = float(np.mean([value[0] for value in values]))
        without = [  # the mean over the files when one group of one file is missing
            full + (left - value[0]) / len(values) for value in values for left in value[1:]
        ]
        shown = np.mean([part[0] for part in numbers], axis=0).tolist()
        return Trial(config, full, np.array(without), dict(zip(self.names, shown)))


def search(
    objective: Callable[[DetectionConfig], Trial],
    base: DetectionConfig,
    axes: dict[str, Alternatives],
    budget: int,
    seed: int,
    report: Callable[[int, Trial, Trial], None] = lambda number, trial, best: None,
) -> tuple[Trial, list[Trial]]:
    """Random settings, then one axis at a time around the best, until nothing improves or the budget is spent.

    Args:
        objective: tries a setting.
        base: tried first; fixed settings come from it.
        axes: what may be chosen.
        budget: most settings to try; a third of them random.
        seed: of the random settings and of the order of the axes.
        report: told the number, the trial and the best so far after each trial.

    Returns:
        The best trial, and all of them in order.
    """
    rng = np.random.default_rng(seed)
    best = replace(objective(base), accepted=True)
    tried = {base: best}

    def attempt(config: DetectionConfig) -> bool:
        nonlocal best
        if config in tried or len(tried) >= budget:
            return False
        trial = objective(config)
        improvement, error = gain(trial, best)
        trial = replace(trial, accepted=improvement > error)
        tried[config] = trial
        best = trial if trial.accepted else best
        report(len(tried), trial, best)
        return trial.accepted

    for _ in range(budget // 3):
        config = base
        for alternatives in axes.values():
            config = replace(config, **alternatives[rng.integers(len(alternatives))])
        attempt(config)
    improved = True
    while improved and len(tried) < budget:
        improved = False
        for name in rng.permutation(sorted(axes)):
            for choice in axes[name]:
                improved |= attempt(replace(best.config, **choice))
    return best, list(tried.values())


def changed_settings(config: DetectionConfig) -> dict[str, Any]:
    """Settings that differ from the paper's."""
    default = DetectionConfig()
    return {
        item.name: getattr(config, item.name)
        for item in fields(config)
        if getattr(config, item.name) != getattr(default, item.name)
    }
