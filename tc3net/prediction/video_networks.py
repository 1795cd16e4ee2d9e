"""The networks that extract features of videos for a run: those of its training features, or an error.

What a run says of its features (`RunInfo.extraction`) decides; a run that says nothing takes I3D, or `--backbone`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from data_prep.extraction.backbones import Backbone, load_backbone, with_sampling
from data_prep.extraction.extracting import Extraction
from data_prep.extraction.flow import FlowParameters
from data_prep.extraction.i3d import STREAMS, has_gpu, open_i3d
from data_prep.extraction.sampling import Sampling
from data_prep.extraction.weight_cache import cache_folder, is_stored
from data_prep.features.readers import MISSING
from tc3net.common.config import option
from tc3net.common.errors import UserError
from tc3net.data.timebase import TimeBase
from tc3net.runs.description import RunInfo

TIMES = ("fps", "frames_per_segment", "stride_frames")
_CHANNELS = {"rgb": 3, "flow": 2}


@dataclass(frozen=True)
class VideoChoices:
    """How features of `--video` are extracted, as far as the run does not say it."""

    features_dir: str = option("", "Where features of --video are kept. Default: the folder features in --output_dir.")
    backbone: str = option("", "module:function, for a run whose features are of a network of your own.")
    cache_dir: str = option("", "Where I3D's weights are kept. Default: $TC3NET_CACHE, or ~/.cache/tc3net.")
    random_weights: bool = option(False, "Try the way out without weights; features and detections mean nothing.")
    batch_size: int = option(
        0, "Segments the network sees at a time. Default: I3D 16 on a GPU and 1 on CPUs, others 8."
    )
    num_workers: int = option(2, "Videos that are decoded at a time.")
    flow_workers: int = option(0, "Processes that compute optical flow. Default: one for each CPU.")


@dataclass(frozen=True)
class RunNetworks:
    """What extracts a run's streams.

    Attributes:
        extraction: networks by stream of the features on disk (rgb, flow), and how they are used.
        sources: stream of the run -> stream on disk; None for a stream that is zero.
        sizes: stream of the run -> D.
        words: one line for the screen for each network, and for what is not known or missing.
    """

    extraction: Extraction
    sources: Mapping[str, str | None]
    sizes: Mapping[str, int]
    words: tuple[str, ...]

    def check_sizes(self) -> None:
        """Looks at one clip, before hours of others are computed.

        Raises:
            UserError: the features are not as wide as the run's.
        """
        sampling = self.extraction.sampling
        for stream, source in self.sources.items():
            if source is not None:
                shape = (1, sampling.crops, sampling.frames_per_segment, sampling.size, sampling.size)
                network = self.extraction.backbones[source]
                found = network.features(np.zeros((*shape, _CHANNELS[source]), np.float32)).shape[1]
                if found != self.sizes[stream]:
                    raise UserError(
                        f"{network.name} gives {found} features per segment; the run's stream {stream} has "
                        f"{self.sizes[stream]}. Give the network that its features were extracted with (--backbone), "
                        "or features: --features."
                    )

    def joined(self, parts: Mapping[str, np.ndarray]) -> np.ndarray:
        """Features [s, D] by stream on disk -> [s, ΣD] float32 in the order of the run's streams."""
        count = len(next(iter(parts.values())))
        columns = [
            np.zeros((count, self.sizes[stream]), np.float32) if source is None else parts[source]
            for stream, source in self.sources.items()
        ]
        return np.concatenate(columns, axis=1)


def time_base_of(run: RunInfo) -> TimeBase:
    """The time base at which videos are extracted for a run: that of its extraction, where it is known.

    A data set may state another one, for the videos that bring none of their own.
    """
    sampling = run.extraction.get("sampling")
    return TimeBase(**{name: sampling[name] for name in TIMES}) if sampling else run.time_base


def open_networks(
    run: RunInfo, base: TimeBase, choices: VideoChoices = VideoChoices(), missing_stream: str = MISSING[0]
) -> RunNetworks:
    """Opens the networks of a run's streams.

    Args:
        run: what the model was trained on.
        base: time base of the rows to extract.
        choices: the flags.
        missing_stream: whether a stream without weights is refused, or zero; one of `readers.MISSING`.

    Raises:
        UserError: weights are not there or are others than the run's; streams that cannot be extracted; flags that
            contradict the run.
    """
    record = run.extraction
    networks: dict[str, Any] = dict(record.get("networks") or {})
    own = _own_network(networks, choices)
    sources = _sources(run, networks, own)
    words = []
    if own:
        backbones = {"rgb": load_backbone(own)}
    else:
        sources, more = _without_weights(run, sources, networks, choices, missing_stream)
        words += more
        wanted = [source for source in sources.values() if source]
        backbones = open_i3d(cache_folder(choices.cache_dir or None), wanted, choices.random_weights)
    _check_weights(backbones, networks)
    time = {name: getattr(base, name) for name in TIMES}
    backbones = with_sampling(backbones, {**_known(Sampling, record.get("sampling")), **time})
    words += [f"{stream}: {one.name}, {one.weights}" for stream, one in backbones.items()]
    if not record:
        words.append("sampling: the run does not say how its features were extracted; the network's own is taken")
    batch = choices.batch_size or (8 if own else 16 if has_gpu() else 1)
    flow = FlowParameters(**_known(FlowParameters, record.get("flow")))
    extraction = Extraction(backbones, flow, batch, choices.num_workers, choices.flow_workers or os.cpu_count() or 1)
    return RunNetworks(extraction, sources, run.streams.as_dict(), tuple(words))


def _known(kind: Any, record: Mapping[str, Any] | None) -> dict[str, Any]:
    """The fields of a dataclass that a record holds."""
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in (record or {}).items() if name in names}


def _own_network(networks: Mapping[str, Any], choices: VideoChoices) -> str:
    """module:function of the run's network where it is none of I3D's; else an empty text."""
    recorded = {one["network"] for one in networks.values()}
    others = recorded - set(STREAMS.values())
    if choices.backbone and recorded and recorded != {choices.backbone}:
        raise UserError(
            f"--backbone={choices.backbone} found; the run's features are of {', '.join(sorted(recorded))}. Drop the "
            "flag, or give features of your own: --features."
        )
    if (choices.backbone or others) and choices.random_weights:
        raise UserError("--random_weights with a network of your own found; they are for I3D. Drop the flag.")
    return choices.backbone or next(iter(others), "")


def _sources(run: RunInfo, networks: Mapping[str, Any], own: str) -> dict[str, str | None]:
    """Stream of the run -> stream that is extracted for it; None where training had none of it either."""
    if len(run.streams) == 1:
        (name,) = run.streams.names
        return {name: name if name in STREAMS and not own else "rgb"}
    unknown = [name for name in run.streams.names if name not in STREAMS]
    if unknown or own:
        raise UserError(
            f"the run reads {run.streams.words()}; expected rgb and flow of I3D, or one stream of a network of your "
            "own, to extract them from a video. Extract features, and give them as --features."
        )
    return {name: name if not networks or name in networks else None for name in run.streams.names}


def _without_weights(
    run: RunInfo,
    sources: Mapping[str, str | None],
    networks: Mapping[str, Any],
    choices: VideoChoices,
    missing_stream: str,
) -> tuple[dict[str, str | None], list[str]]:
    """The sources without those that have no weights, and what to say of streams that are zero."""
    folder = cache_folder(choices.cache_dir or None)
    found: dict[str, str | None] = {}
    words = [f"{name}: zero, as in training" for name, source in sources.items() if source is None]
    for name, source in sources.items():
        absent = source is not None and not choices.random_weights and not is_stored(folder, STREAMS[source])
        if absent and len(sources) > 1 and missing_stream == MISSING[1] and source != "rgb":
            words.append(f"{name}: no weights of {STREAMS[str(source)]}, taken as zero (--missing_stream=zero)")
            found[name] = None
        elif absent:
            network = STREAMS[str(source)]
            cure = f"python -m data_prep.weights --network={network}" + (" --from=FILE" if source == "flow" else "")
            zero = ", or take flow as zero, which costs detections: --missing_stream=zero" if source == "flow" else ""
            raise UserError(
                f"the run reads {run.streams.words()}, and no weights of {network} are in {folder}; expected them for "
                f"the stream {name}. Run `{cure}` first{zero}."
            )
        else:
            found[name] = source
    return found, words


def _check_weights(backbones: Mapping[str, Backbone], networks: Mapping[str, Any]) -> None:
    for stream, one in backbones.items():
        wanted = networks.get(stream) or next(iter(networks.values()), None)
        if wanted and wanted != {"network": one.name, "weights": one.weights}:
            raise UserError(
                f"{stream}: the run's features are of {wanted['network']}, {wanted['weights']}; found {one.name}, "
                f"{one.weights}. Store those weights (data_prep.weights), name their folder (--cache_dir), or give "
                "features: --features."
            )
