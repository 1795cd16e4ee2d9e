"""3C-Net (Sec. 3.1, Fig. 2) as a Keras model on ragged batches, and the step that trains it.

`ThreeCNet` knows how its parts fit together: streams give T-CAMs, heads add to them, and the terms of an objective
make the loss and move the centers. It knows no formula of its own. It works in `fit`, and in
`tc3net.training.trainer`, which calls the same `update`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tc3net import losses
from tc3net.common.errors import UserError
from tc3net.common.stack import build_optimizer, learning_rate_of, tf_variable
from tc3net.data.streams import Streams
from tc3net.model.checks import check_batch_features
from tc3net.model.config import ModelConfig
from tc3net.model.heads import Head, NetworkShape, check_heads, heads_as_dict, heads_from_dict, make_heads
from tc3net.model.streams import FusedTcam, Stream
from tc3net.model.variables import check_ownership, named_variables
from tc3net.ops.ragged import with_row_ids
from tc3net.optimization.averaging import OptimizerAverage, WeightAverage, make_average
from tc3net.optimization.optimizers import OptimizerConfig, add_l2, clip_shares, make_optimizer

Batch = dict[str, Any]


@keras.utils.register_keras_serializable("tc3net")
class ThreeCNet(keras.Model):
    """The network of one or more streams (the paper: rgb and flow) with its class centers.

    Called on features [N, (s), ΣD] (ragged; the streams side by side) it returns a dict of ragged tensors:
    `tcam_<stream>`, `tcam_fused` [N, (s), C] and `features_<stream>` [N, (s), H].

    Example:
        model = ThreeCNet(num_classes=20, streams=1024)  # rgb and flow
        model.compile()
        model.fit(input_pipeline.training_batches(...), steps_per_epoch=100)

    Args:
        num_classes: C.
        streams: names and sizes of the streams; a number D stands for rgb and flow of that size.
        config: architecture choices.
        heads: what else belongs to the network (`tc3net.model.heads`).
        seed: seed of the initial weights and of dropout. The dropout mask of a step depends on (seed, step) alone.
    """

    def __init__(
        self,
        num_classes: int,
        streams: Streams | int = 1024,
        config: ModelConfig = ModelConfig(),
        seed: int = 0,
        heads: tuple[Head, ...] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if num_classes < 1:
            raise UserError(f"num_classes={num_classes}; expected at least 1.")
        sizes = Streams.pair(streams) if isinstance(streams, int) else streams
        self.num_classes, self.stream_sizes, self.config, self.seed = num_classes, sizes, config, seed
        hidden_dims = {name: config.hidden_dim or size for name, size in sizes.sizes}
        first_seed = max(2, len(sizes)) * seed
        self.streams = {
            name: Stream(
                size, hidden_dims[name], num_classes, config.dropout,
                seed=first_seed + i, precision=config.precision, name=name,
            )
            for i, (name, size) in enumerate(sizes.sizes)
        }  # fmt: skip
        self.fusion = FusedTcam(
            sizes.names,
            num_classes,
            temporal_conv=config.temporal_conv,
            relu=config.temporal_conv_relu,
            seed=seed,
            name="fusion",
        )
        # Zero: a class's center is pulled to its features by its first videos, and favours no direction before.
        self.centers = {
            name: self.add_weight(
                shape=(num_classes, hidden_dim), initializer="zeros", name=f"centers_{name}", trainable=False
            )
            for name, hidden_dim in hidden_dims.items()
        }
        self._head_objects, self.head_choices = heads, heads_as_dict(heads)
        seeds = {name: stream.seed for name, stream in self.streams.items()}
        self.heads = make_heads(heads, NetworkShape(num_classes, hidden_dims, seed, config.dropout, seeds))
        self.loss_config = losses.LossConfig()
        self.objective = losses.make_objective(self.loss_config, streams=sizes.names)
        self.weight_decay = self.clip_norm = 0.0
        self.average: WeightAverage | OptimizerAverage | None = None
        for stream in self.streams.values():
            stream.build((None, stream.feature_dim))
        self.fusion.build((None, num_classes))
        self.built = True

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for Keras serialization."""
        return {
            "num_classes": self.num_classes,
            "streams": self.stream_sizes.as_dict(),
            "config": vars(self.config),
            "seed": self.seed,
            "heads": dict(self.head_choices),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> ThreeCNet:
        """Inverse of `get_config`."""
        heads = heads_from_dict(config.get("heads", {}))
        streams = Streams.of(config["streams"])
        return cls(**{**config, "streams": streams, "config": ModelConfig(**config["config"]), "heads": heads})

    def call(self, features: tf.RaggedTensor, training: bool = False, step: Any = 0) -> dict[str, tf.RaggedTensor]:
        """Forward pass; see the class for shapes.

        Args:
            features: [N, (s), ΣD] ragged.
            training: whether dropout is active.
            step: training step, which with the seed determines the dropout masks.

        Raises:
            UserError: features of another size.
        """
        check_batch_features(features, self.stream_sizes)
        features = with_row_ids(features)
        outputs, tcams = {}, []
        for name, rows in self.stream_sizes.split(features.flat_values).items():  # slices are faster than tf.split
            hidden, tcam = self.streams[name](rows, training=training, step=step)  # [R, H], [R, C]
            tcams.append(tcam)
            outputs[f"features_{name}"] = features.with_flat_values(hidden)
            outputs[f"tcam_{name}"] = features.with_flat_values(tcam)
        fused = self.fusion(tcams, row_ids=features.value_rowids())
        outputs["tcam_fused"] = features.with_flat_values(fused)
        for head in self.heads.values():
            outputs.update(head(dict(outputs), training=training, step=step))
        return outputs

    def compile(
        self,
        optimizer: Any = None,
        *,
        loss_config: losses.LossConfig = losses.LossConfig(),
        terms: Sequence[losses.LossTerm] = (),
        weight_decay: float = OptimizerConfig.weight_decay,
        clip_norm: float = 0.0,
        ema_decay: float = 0.0,
        **kwargs: Any,
    ) -> None:
        """Configures training.

        Args:
            optimizer: a Keras optimizer (or its name); default: the paper's Adam.
            loss_config: choices of Eq. 1-10.
            terms: further terms of the loss (`tc3net.losses.add_term`).
            weight_decay: L2, added to the gradient.
            clip_norm: largest global norm of the loss's gradient (before L2 is added); 0: no clipping.
            ema_decay: decay of the moving average of the weights, `average`; 0: none.
            **kwargs: passed to `keras.Model.compile`.

        Raises:
            UserError: a term needs a head that is not there, or nothing would train a head.
        """
        check_heads(self._head_objects, terms)
        self.loss_config, self.weight_decay, self.clip_norm = loss_config, weight_decay, clip_norm
        self.objective = losses.make_objective(loss_config, terms, self.stream_sizes.names)
        # XLA needs static shapes; a ragged batch has none.
        super().compile(optimizer=optimizer or make_optimizer(), **{"jit_compile": False, **kwargs})
        # Built here, inside the strategy's scope: a restored checkpoint finds the optimizer's slots, and no
        # variable is created inside `strategy.run`.
        build_optimizer(self.optimizer, self.trainable_variables)
        self.average = make_average(self.optimizer, self.network_variables(), ema_decay)
        self.loss_trackers = {name: keras.metrics.Mean(name=name) for name in self.term_names()}
        check_ownership(self)

    @property
    def metrics(self) -> list[Any]:
        """Running means of the loss and its terms."""
        return list(getattr(self, "loss_trackers", {}).values())

    def _maybe_symbolic_build(self, *args: Any, **kwargs: Any) -> None:
        # Keras 3 would trace the model on a batch averaged over the replicas, which fails on ragged batches.
        # Everything is built already, in __init__ and compile.
        return

    def named_variables(self) -> dict[str, tf.Variable]:
        """Every variable of the network and its centers under a name of ours, for checkpoints.

        The names do not depend on Keras's version or on the order of creation.
        """
        return named_variables(self)

    def network_variables(self) -> dict[str, tf.Variable]:
        """Those of `named_variables` that the optimizer moves."""
        trained = {tf_variable(variable).ref() for variable in self.trainable_variables}
        return {name: variable for name, variable in self.named_variables().items() if variable.ref() in trained}

    def term_names(self) -> tuple[str, ...]:
        """Names of what `update` reports, in order: the loss, then its terms."""
        return (losses.LOSS, *self.objective.names)

    def loss_inputs(self, batch: Batch, outputs: dict[str, tf.RaggedTensor], step: Any) -> losses.LossInputs:
        """What the terms of the objective read.

        Args:
            batch: `labels` [N, C], `counts` [N, C], `counts_known` [N, C] bool, `full_length` [N] bool.
            outputs: what `call` returned.
            step: training step.
        """
        centers = {name: tf.convert_to_tensor(variable) for name, variable in self.centers.items()}
        return losses.LossInputs(batch, outputs, centers, step, self.loss_config)

    def update(self, batch: Batch) -> dict[str, tf.Tensor]:
        """One training step on this replica's share of the global batch; call in replica context.

        Args:
            batch: `features` [N, (s), ΣD] ragged and what `loss_inputs` reads.

        Returns:
            Scalars over the *global* batch, the same on every replica: `loss` (Eq. 1, weighted) and each term
            unweighted, by the names of `term_names`; how many videos the terms saw that not every batch has
            (`count_videos`); `segments`, how many rows the batch had; `learning_rate`; `gradient_norm`, global, of the
            loss alone and before clipping; and what terms report of their own (`center_norm_<stream>`).
        """
        replica = tf.distribute.get_replica_context()
        add = tf.distribute.ReduceOp.SUM
        step = tf.cast(tf.convert_to_tensor(self.optimizer.iterations), tf.int64)
        with tf.GradientTape() as tape:
            outputs = self(batch["features"], training=True, step=step)
            inputs = self.loss_inputs(batch, outputs, step)
            terms = [term.compute(inputs) for term in self.objective.terms]
            weights = replica.all_reduce(add, [term.weight for term in terms])
            shares = [  # this replica's share: summed over replicas it is the global value
                tf.math.divide_no_nan(term.total, weight**term.power) for term, weight in zip(terms, weights)
            ]
            loss = self.objective.loss(shares, step)
        variables = self.trainable_variables
        gradients, gradient_norm = clip_shares(self._gradients(tape, loss), self.clip_norm)
        gradients = add_l2(gradients, variables, self.weight_decay)
        learning_rate = learning_rate_of(self.optimizer)
        self.optimizer.apply_gradients(zip(gradients, variables))
        if self.average is not None:
            self.average.update(step)
        reported: dict[str, tf.Tensor] = {}
        for moving in self.objective.terms:
            reported.update(moving.after_step(inputs, self.centers))
        segments = tf.cast(tf.shape(batch["features"].flat_values)[0], tf.float32)
        values = replica.all_reduce(add, [loss, *shares, segments])
        result = dict(zip((*self.term_names(), "segments"), values))
        seen_as = self.objective.seen_as
        result.update({seen_as[name]: w for name, w in zip(self.objective.names, weights) if name in seen_as})
        result.update(learning_rate=learning_rate, gradient_norm=gradient_norm, **reported)
        return result

    def _gradients(self, tape: tf.GradientTape, loss: tf.Tensor) -> list[tf.Tensor]:
        """Of the loss with respect to every trained variable.

        Raises:
            UserError: the loss does not depend on one.
        """
        gradients = tape.gradient(loss, self.trainable_variables)
        if any(gradient is None for gradient in gradients):
            lost = {id(tf_variable(v)) for v, g in zip(self.trainable_variables, gradients) if g is None}
            names = [name for name, variable in self.named_variables().items() if id(variable) in lost]
            raise UserError(
                f"No term of the loss ({', '.join(self.objective.names)}) depends on the variables {', '.join(names)}. "
                "Give another term a weight, or leave out that part of the network."
            )
        return gradients

    def train_step(self, data: Batch) -> dict[str, Any]:
        """What `fit` calls: `update`, then the running means, each over the batches that have something for it."""
        values = self.update(data)
        # Both weights depend on the batch, also the one that is always 1: a constant would be counted once more when
        # the data ends, because the update does not wait for the batch that never comes.
        some_videos = tf.cast(tf.shape(data["labels"])[0] > 0, tf.float32)
        seen_as = self.objective.seen_as
        for name, tracker in self.loss_trackers.items():
            weight = tf.cast(values[seen_as[name]] > 0, tf.float32) if name in seen_as else some_videos
            tracker.update_state(values[name], sample_weight=weight)
        return {name: tracker.result() for name, tracker in self.loss_trackers.items()}
