"""Layers that a user's module adds to the network: they read what it has computed and add to it, or replace it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, TypeVar

import keras

from tc3net.common.errors import UserError


@dataclass(frozen=True)
class NetworkShape:
    """What a head has to know of the network it is added to.

    Attributes:
        num_classes: C.
        hidden_dims: H of each stream, the size of its `features_<stream>`, by name.
        seed: of the network's initial weights.
    """

    num_classes: int
    hidden_dims: dict[str, int]
    seed: int

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
    """

    name: ClassVar[str]

    @property
    def active(self) -> bool:
        """Whether the network gets this head; False leaves it out."""
        return True

    @abstractmethod
    def make_layer(self, shape: NetworkShape) -> keras.layers.Layer:
        """A built layer with `name=self.name`.

        It is called as `layer(outputs, training=..., step=...)` with everything the network has computed: ragged
        tensors `features_<stream>` [N, (s), H], `tcam_<stream>` and `tcam_fused` [N, (s), C]. It returns a dict of what
        it adds; an entry that is there already is replaced (`tcam_fused` is what detections are made of).

        Args:
            shape: the network's.
        """


# Heads of the user's, by name; see `add_head`.
HEADS: dict[str, type[Head]] = {}
Added = TypeVar("Added", bound=type[Head])


def add_head(head_class: Added) -> Added:
    """Adds a head to every network of this process; a decorator for modules named by `--extensions`.

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
