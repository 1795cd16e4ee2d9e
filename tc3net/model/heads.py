"""Layers beside 3C-Net's, built in or a user's: they read what the network has computed, add to it, or replace it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Protocol, TypeVar

import keras

from tc3net.common.errors import UserError
from tc3net.data.streams import FUSED


@dataclass(frozen=True)
class NetworkShape:
    """What a head has to know of the network it is added to.

    Attributes:
        num_classes: C.
        hidden_dims: H of each stream, the size of its `features_<stream>`, by name.
        seed: of the network's initial weights.
        dropout: rate before the classifiers.
        stream_seeds: of each stream's dropout masks, by name.
    """

    num_classes: int
    hidden_dims: dict[str, int]
    seed: int
    dropout: float = 0.0
    stream_seeds: dict[str, int] = field(default_factory=dict)

    @property
    def tcams(self) -> tuple[str, ...]:
        """Names of the T-CAMs that differ: the streams' and the fused one; of a single stream the fused one alone."""
        return (*self.hidden_dims, FUSED) if len(self.hidden_dims) > 1 else (FUSED,)

    @property
    def feature_dim(self) -> int:
        """H of all streams, where they are equal.

        Raises:
            UserError: they differ.
        """
        if len(set(self.hidden_dims.values())) > 1:
            raise UserError(f"Streams are of sizes {self.hidden_dims}; a head for one size found. Use hidden_dims.")
        return next(iter(self.hidden_dims.values()))


class Head(ABC):
    """A head's choices; subclasses are frozen dataclasses whose fields are `option`s. docs/extending.md shows one.

    Attributes:
        name: unique; its variables begin with it in checkpoints.
        needs: names of other heads whose outputs it reads.
        switch: for a head whose outputs change nothing until a loss term or another head reads them: the flag that
            switches it on, for messages. Empty: it acts by itself.
        attends: whether it gives `attention_fused`, which detection can read.
        bounds: whether it gives `boundaries`, which detection can read.
    """

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    switch: ClassVar[str] = ""
    attends: ClassVar[bool] = False
    bounds: ClassVar[bool] = False

    @property
    def active(self) -> bool:
        """Whether the network gets this head; False leaves it out."""
        return True

    @abstractmethod
    def make_layer(self, shape: NetworkShape) -> keras.layers.Layer:
        """A built layer with `name=self.name`.

        It is called as `layer(outputs, training=..., step=...)` with everything the network has computed: ragged
        tensors `features_<stream>` [N, (s), H], `tcam_<stream>` and `tcam_fused` [N, (s), C]. It returns a dict of what
        it adds; an entry that is there already is replaced (`tcam_fused` is what detections are made of). What
        detection can read beside T-CAMs is `attention_fused` [N, (s), 1], `boundaries` [N, (s), M, 2], start and end of
        M intervals of each segment, in segments, and `pooled_<stream>`, `pooled_fused` [N, C], video-level scores in
        place of the top-k means.

        Args:
            shape: the network's.
        """


class Reader(Protocol):
    """A loss term or a head."""

    @property
    def name(self) -> str:
        """Its own."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the heads whose outputs it reads."""

    @property
    def active(self) -> bool:
        """Whether it is there."""


# Heads by name: those of other methods than 3C-Net, off by default, and the user's; see `add_head`.
HEADS: dict[str, type[Head]] = {}
Added = TypeVar("Added", bound=type[Head])


def add_head(head_class: Added) -> Added:
    """Adds a head to every network of this process; a decorator, also for modules named by `--extensions`.

    Raises:
        UserError: the name is taken.
    """
    name = head_class.name
    if HEADS.get(name, head_class) is not head_class:
        raise UserError(f"Two heads are named {name!r}; expected another name. Taken: {', '.join(sorted(HEADS))}.")
    HEADS[name] = head_class
    return head_class


def make_heads(heads: tuple[Head, ...], shape: NetworkShape) -> dict[str, keras.layers.Layer]:
    """The layers of the active heads, in order.

    Raises:
        UserError: a layer is not built, or has another name than its head.
    """
    layers = {}
    for head in heads:
        if not head.active:
            continue
        layer = head.make_layer(shape)
        if layer.name != head.name or not layer.built:
            raise UserError(
                f"The head {head.name!r} made a layer named {layer.name!r}, built: {layer.built}; expected "
                f"name={head.name!r} and a layer that is built, so that its variables are there before training begins."
            )
        layers[head.name] = layer
    return layers


def check_heads(heads: Sequence[Head], terms: Iterable[Reader] = ()) -> None:
    """Checks that what reads a head's outputs finds it, and that no head is there for nothing.

    Args:
        heads: of the network, active or not.
        terms: of the loss.

    Raises:
        UserError: a head is missing, or has a `switch` and nobody reads what it computes.
    """
    there = {head.name: head for head in heads if head.active}
    readers = [reader for reader in (*there.values(), *terms) if reader.active]
    for reader in readers:
        missing = [name for name in reader.needs if name not in there]
        if missing:
            switches = ", ".join(HEADS[name].switch if name in HEADS else name for name in missing)
            raise UserError(
                f"{reader.name!r} reads what the network computes with {switches}, which is switched off. Switch it "
                f"on, or {reader.name!r} off."
            )
    read = {name for reader in readers for name in reader.needs}
    idle = [head.switch for head in there.values() if head.switch and head.name not in read]
    if idle:
        raise UserError(
            f"{', '.join(idle)}: no term of the loss reads what this part of the network computes, so it would never "
            "learn. Give a term's weight (docs/methods.md), or leave it out."
        )


def heads_as_dict(heads: tuple[Head, ...]) -> dict[str, dict[str, Any]]:
    """Name -> choices of the active heads, for JSON."""
    return {head.name: asdict(head) for head in heads if head.active}  # type: ignore[call-overload]


def heads_from_dict(choices: dict[str, dict[str, Any]]) -> tuple[Head, ...]:
    """Inverse of `heads_as_dict`.

    Raises:
        UserError: a head that no loaded module has added.
    """
    missing = [name for name in choices if name not in HEADS]
    if missing:
        raise UserError(
            f"The model has heads {missing} that are not known here. Name the module that adds them: --extensions=..."
        )
    return tuple(HEADS[name](**fields) for name, fields in choices.items())
