"""How features are to be made, before anything is loaded: what a command's flags say, and what workers are sent."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from data_prep.extraction.backbones import Backbone, load_backbone, with_sampling
from data_prep.extraction.extracting import Extraction
from data_prep.extraction.flow import FlowParameters
from tc3net.common.errors import UserError

_OTHERS_BATCH = 8


@dataclass(frozen=True)
class Recipe:
    """What an `Extraction` is opened from; plain values, so that it can be sent to other machines.

    Attributes:
        backbone: module:function, a network in place of I3D, for the stream rgb.
        cache_dir: where I3D's weights are kept.
        streams: of I3D; None for those whose weights are there.
        random_weights: of I3D, made up.
        sampling: what differs from the network's own `Sampling`, as (name, value).
        flow_warps: of TV-L1.
        batch_size: segments that a network sees at a time; None for what suits the machine.
        num_workers: videos that are decoded at a time.
        flow_workers: processes that compute optical flow; None for one for each of the machine's CPUs.
    """

    backbone: str | None = None
    cache_dir: Path = Path()
    streams: tuple[str, ...] | None = None
    random_weights: bool = False
    sampling: tuple[tuple[str, float], ...] = ()
    flow_warps: int = FlowParameters.warps
    batch_size: int | None = None
    num_workers: int = 1
    flow_workers: int | None = None

    def __post_init__(self) -> None:
        if self.backbone and (self.random_weights or self.streams not in (None, ("rgb",))):
            raise UserError(
                "--backbone with --random_weights or --streams found; a network of your own makes the stream rgb. Drop "
                "the other flag."
            )

    def open(self) -> Extraction:
        """Loads the networks, on the machine that is to run them.

        Raises:
            UserError: weights or functions are not there, or a value is out of range.
        """
        return Extraction(
            with_sampling(self._backbones(), dict(self.sampling)),
            FlowParameters(warps=self.flow_warps),
            self._default_batch_size() if self.batch_size is None else self.batch_size,
            self.num_workers,
            (os.cpu_count() or 1) if self.flow_workers is None else self.flow_workers,
        )

    def _backbones(self) -> dict[str, Backbone]:
        if self.backbone:
            return {"rgb": load_backbone(self.backbone)}
        from data_prep.extraction.i3d import open_i3d  # TensorFlow: processes that compute flow do without it

        return open_i3d(self.cache_dir, self.streams, self.random_weights)

    def _default_batch_size(self) -> int:
        """I3D on a GPU is kept busy by many clips, on CPUs by one; another network's clips may be small."""
        if self.backbone:
            return _OTHERS_BATCH
        from data_prep.extraction.i3d import has_gpu

        return 16 if has_gpu() else 1
