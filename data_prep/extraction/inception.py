"""The layers of Inception-v1 I3D, as data: names, channels, kernels (Carreira and Zisserman, CVPR 2017, Fig. 3).

The names are those of the published checkpoints, so that weights are found by them. What computes with the layers is
`network`; what fills them is `weights`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

# Block -> channels of branch 0; of branch 1, reduced and final; of branch 2, reduced and final; of branch 3.
_MIXED = MappingProxyType(
    {
        "Mixed_3b": (64, 96, 128, 16, 32, 32),
        "Mixed_3c": (128, 128, 192, 32, 96, 64),
        "Mixed_4b": (192, 96, 208, 16, 48, 64),
        "Mixed_4c": (160, 112, 224, 24, 64, 64),
        "Mixed_4d": (128, 128, 256, 24, 64, 64),
        "Mixed_4e": (112, 144, 288, 32, 64, 64),
        "Mixed_4f": (256, 160, 320, 32, 128, 128),
        "Mixed_5b": (256, 160, 320, 32, 128, 128),
        "Mixed_5c": (384, 192, 384, 48, 128, 128),
    }
)
FEATURES, LOGITS, PREDICTIONS = "Features", "Logits", "Predictions"
LAST_BLOCK = "Mixed_5c"
CLASSIFIER = "Logits/Conv3d_0c_1x1"


@dataclass(frozen=True)
class Unit:
    """A convolution with batch norm and ReLU (the classifier: with a bias alone).

    Attributes:
        name: the checkpoints' path of it.
        size: of the kernel, along time, height and width alike.
        stride: likewise.
        in_channels, out_channels: channels.
        has_norm: whether batch norm follows.
    """

    name: str
    size: int
    stride: int
    in_channels: int
    out_channels: int
    has_norm: bool = True


@dataclass(frozen=True)
class Pool:
    """A maximum over [time, size, size], `SAME` padding; time and space are moved over by their own strides."""

    name: str
    window: tuple[int, int, int]
    strides: tuple[int, int, int]


@dataclass(frozen=True)
class Mixed:
    """An Inception block: four branches of the same input, side by side in the output's channels.

    Attributes:
        name: of the block.
        branches: units of branches 0 to 3; before branch 3's unit lies a maximum over 3 x 3 x 3.
    """

    name: str
    branches: tuple[tuple[Unit, ...], ...]


@dataclass(frozen=True)
class InceptionPlan:
    """Which channels the network has. The defaults are the published network; tests make narrow ones.

    Attributes:
        in_channels: 3 for rgb, 2 for flow.
        num_classes: of the classifier.
        stem: channels of the first three convolutions.
        mixed: block -> channels, see `_MIXED`.
    """

    in_channels: int = 3
    num_classes: int = 400
    stem: tuple[int, int, int] = (64, 64, 192)
    mixed: Mapping[str, tuple[int, ...]] = field(default_factory=lambda: _MIXED)

    @property
    def feature_dim(self) -> int:
        """Channels of the last block."""
        return sum(self.mixed[LAST_BLOCK][i] for i in (0, 2, 4, 5))

    def layers(self) -> Iterator[Unit | Pool | Mixed]:
        """All layers up to the last block, in order; each name is an end point."""
        first, second, third = self.stem
        yield Unit("Conv3d_1a_7x7", 7, 2, self.in_channels, first)
        yield Pool("MaxPool3d_2a_3x3", (1, 3, 3), (1, 2, 2))
        yield Unit("Conv3d_2b_1x1", 1, 1, first, second)
        yield Unit("Conv3d_2c_3x3", 3, 1, second, third)
        yield Pool("MaxPool3d_3a_3x3", (1, 3, 3), (1, 2, 2))
        channels = third
        for name, widths in self.mixed.items():
            if name == "Mixed_4b":
                yield Pool("MaxPool3d_4a_3x3", (3, 3, 3), (2, 2, 2))
            elif name == "Mixed_5b":
                yield Pool("MaxPool3d_5a_2x2", (2, 2, 2), (2, 2, 2))
            yield _mixed(name, channels, widths)
            channels = sum(widths[i] for i in (0, 2, 4, 5))

    def units(self) -> Iterator[Unit]:
        """All convolutions, the classifier last."""
        for layer in self.layers():
            if isinstance(layer, Unit):
                yield layer
            elif isinstance(layer, Mixed):
                for branch in layer.branches:
                    yield from branch
        yield Unit(CLASSIFIER, 1, 1, self.feature_dim, self.num_classes, has_norm=False)


def _mixed(name: str, channels: int, widths: tuple[int, ...]) -> Mixed:
    def unit(branch: int, place: str, size: int, before: int, after: int) -> Unit:
        return Unit(f"{name}/Branch_{branch}/Conv3d_0{place}_{size}x{size}", size, 1, before, after)

    return Mixed(
        name,
        (
            (unit(0, "a", 1, channels, widths[0]),),
            (unit(1, "a", 1, channels, widths[1]), unit(1, "b", 3, widths[1], widths[2])),
            (unit(2, "a", 1, channels, widths[3]), unit(2, "b", 3, widths[3], widths[4])),
            (unit(3, "b", 1, channels, widths[5]),),
        ),
    )
