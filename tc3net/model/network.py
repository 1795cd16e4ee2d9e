"""3C-Net (Sec. 3.1, Fig. 2) as a Keras model on ragged batches, and the step that trains it.

`ThreeCNet` knows how its parts fit together: two streams give T-CAMs, `tc3net.losses` gives the terms,
`tc3net.losses.center_update` moves the centers. It knows no formula of its own. It works in `fit`, and in
`tc3net.training.trainer`, which calls the same `update`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from tc3net import losses
from tc3net.common.config import option
from tc3net.common.errors import UserError
from tc3net.common.stack import build_optimizer, learning_rate_of, tf_variable
from tc3net.losses.center_update import update_centers
from tc3net.losses.config import STREAMS as STREAMS
from tc3net.model.checks import check_batch_features, check_ownership
from tc3net.model.streams import FusedTcam, Stream
from tc3net.ops.ragged import with_row_ids
from tc3net.optimization.averaging import OptimizerAverage, WeightAverage, make_average
from tc3net.optimization.optimizers import OptimizerConfig, add_l2, clip_shares, make_optimizer

Batch = dict[str, Any]


@dataclass(frozen=True)
class ModelConfig:
    """Architecture choices; the feature size and the classes come from the data set."""

    dropout: float = option(0.7, "Dropout rate between the features and the classifier (reference code: 0.7).")
    precision: str = option(
        "float32",
        "Dtype of the dense layers in training; their variables, all losses and inference are float32 in any case.",
        choices=("float32", "bfloat16"),
    )
    temporal_conv: bool = option(
        False, "Learn a per-class temporal filter on the fused T-CAM (Sec. 4.1: kernel 13, dilation 2; ActivityNet)."
    )
    temporal_conv_relu: bool = option(True, "Apply a ReLU after the temporal filter, as the reference code does.")

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1:
            raise UserError(f"--dropout={self.dropout}; expected a rate in [0, 1).")


@keras.utils.register_keras_serializable("tc3net")
class ThreeCNet(keras.Model):
    """The two-stream network with its class centers.

    Called on features [N, (s), 2D] (ragged; rgb, then flow) it returns a dict of ragged tensors:
    `tcam_rgb`, `tcam_flow`, `tcam_fused` [N, (s), C] and `features_rgb`, `features_flow` [N, (s), D].

    Example:
        model = ThreeCNet(num_classes=20, feature_dim=1024)
        model.compile()
        model.fit(input_pipeline.training_batches(...), steps_per_epoch=100)

    Args:
        num_classes: C.
        feature_dim: D of one stream.
        config: architecture choices.
        seed: seed of the initial weights and of dropout. The dropout mask of a step depends on (seed, step) alone.
    """

    def __init__(
        self,
        num_classes: int,
        feature_dim: int = 1024,
        config: ModelConfig = ModelConfig(),
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if num_classes < 1 or feature_dim < 1:
            raise UserError(f"num_classes={num_classes}, feature_dim={feature_dim}; expected at least 1 of each.")
        self.num_classes, self.feature_dim, self.config, self.seed = num_classes, feature_dim, config, seed
        self.streams = {
            name: Stream(
                feature_dim, num_classes, config.dropout, seed=2 * seed + i, precision=config.precision, name=name
            )
            for i, name in enumerate(STREAMS)
        }
        self.fusion = FusedTcam(
            num_classes, temporal_conv=config.temporal_conv, relu=config.temporal_conv_relu, seed=seed, name="fusion"
        )
        # Zero: a class's center is pulled to its features by its first videos, and favours no direction before.
        self.centers = {
            name: self.add_weight(
                shape=(num_classes, feature_dim), initializer="zeros", name=f"centers_{name}", trainable=False
            )
            for name in STREAMS
        }
        self.loss_config = losses.LossConfig()
        self.weight_decay = self.clip_norm = 0.0
        self.average: WeightAverage | OptimizerAverage | None = None
        for stream in self.streams.values():
            stream.build((None, feature_dim))
        self.fusion.build((None, num_classes))
        self.built = True

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for Keras serialization."""
        return {
            "num_classes": self.num_classes,
            "feature_dim": self.feature_dim,
            "config": vars(self.config),
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> ThreeCNet:
        """Inverse of `get_config`."""
        return cls(**{**config, "config": ModelConfig(**config["config"])})

    def call(self, features: tf.RaggedTensor, training: bool = False, step: Any = 0) -> dict[str, tf.RaggedTensor]:
        """Forward pass; see the class for shapes.

        Args:
            features: [N, (s), 2D] ragged.
            training: whether dropout is active.
            step: training step, which with the seed determines the dropout masks.

        Raises:
            UserError: features of another size.
        """
        check_batch_features(features, self.feature_dim)
        features = with_row_ids(features)
        joint = features.flat_values
        rows = (joint[:, : self.feature_dim], joint[:, self.feature_dim :])  # [R, 2D] -> 2 x [R, D]; faster than split
        outputs, tcams = {}, []
        for name, stream_rows in zip(STREAMS, rows):
            hidden, tcam = self.streams[name](stream_rows, training=training, step=step)  # [R, D], [R, C]
            tcams.append(tcam)
            outputs[f"features_{name}"] = features.with_flat_values(hidden)
            outputs[f"tcam_{name}"] = features.with_flat_values(tcam)
        fused = self.fusion(tcams, row_ids=features.value_rowids())
        outputs["tcam_fused"] = features.with_flat_values(fused)
        return outputs

    def compile(
        self,
        optimizer: Any = None,
        *,
        loss_config: losses.LossConfig = losses.LossConfig(),
        weight_decay: float = OptimizerConfig.weight_decay,
        clip_norm: float = 0.0,
        ema_decay: float = 0.0,
        **kwargs: Any,
    ) -> None:
        """Configures training.

        Args:
            optimizer: a Keras optimizer (or its name); default: the paper's Adam.
            loss_config: choices of Eq. 1-10.
            weight_decay: L2, added to the gradient.
            clip_norm: largest global norm of the loss's gradient (before L2 is added); 0: no clipping.
            ema_decay: decay of the moving average of the weights, `average`; 0: none.
            **kwargs: passed to `keras.Model.compile`.
        """
        self.loss_config, self.weight_decay, self.clip_norm = loss_config, weight_decay, clip_norm
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
        named = {f"centers_{name}": variable for name, variable in self.centers.items()}
        for name, stream in self.streams.items():
            for layer in (stream.fc1, stream.fc2, stream.classifier):
                named[f"{name}_{layer.name}_kernel"] = layer.kernel
                named[f"{name}_{layer.name}_bias"] = layer.bias
        for name, variable in zip(STREAMS, self.fusion.weights_by_stream):
            named[f"fusion_weight_{name}"] = variable
        if self.config.temporal_conv:
            named["fusion_temporal_kernel"] = self.fusion.kernel
        return {name: tf_variable(variable) for name, variable in named.items()}

    def network_variables(self) -> dict[str, tf.Variable]:
        """`named_variables` without the centers: what the optimizer moves, and all that inference needs."""
        centers = {f"centers_{name}" for name in self.centers}
        return {name: variable for name, variable in self.named_variables().items() if name not in centers}

    def term_names(self) -> tuple[str, ...]:
        """Names of what `update` reports, in order: the loss, then its terms."""
        names = ["loss", *(f"classification_{name}" for name in self.loss_config.classified)]
        names += [f"center_{name}" for name in self.loss_config.centered]
        if self.loss_config.beta > 0:
            names += ["count_positive", "count_negative"]
        return tuple(names)

    def _weight_of(self, name: str, step: tf.Tensor) -> Any:
        """Factor of a term in the loss of a training step."""
        weight = self.loss_config.coefficient(name)
        return weight * self.loss_config.count_share(step) if name.startswith("count") else weight

    def loss_terms(
        self, batch: Batch, outputs: dict[str, tf.RaggedTensor], step: Any
    ) -> tuple[dict[str, losses.Term], dict[str, losses.CenterTerm]]:
        """All terms of Eq. 1 of this replica's batch, unnormalised.

        Args:
            batch: `labels` [N, C], `counts` [N, C], `counts_known` [N, C] bool, `full_length` [N] bool.
            outputs: what `call` returned.
            step: training step.

        Returns:
            The terms by name, and the center terms by stream (empty where alpha is 0).
        """
        config = self.loss_config
        terms: dict[str, losses.Term] = {}
        centers: dict[str, losses.CenterTerm] = {}
        for name in config.classified:
            terms[f"classification_{name}"] = losses.classification_loss(
                tcam=outputs[f"tcam_{name}"], labels=batch["labels"], top_k_divisor=config.top_k_divisor
            )
        for name in config.centered:
            centers[name] = losses.center_loss(
                features=outputs[f"features_{name}"],
                tcam=outputs[f"tcam_{name}"],
                labels=batch["labels"],
                centers=tf.convert_to_tensor(self.centers[name]),
                use_multi_label=tf.cast(step, tf.int64) >= config.center_multi_label_from_step,
                config=config,
            )
            terms[f"center_{name}"] = centers[name].term
        if config.beta > 0:
            terms["count_positive"], terms["count_negative"] = losses.count_loss(
                tcam=outputs["tcam_fused"],
                counts=batch["counts"],
                counts_known=batch["counts_known"],
                full_length=batch["full_length"],
                config=config,
            )
        return terms, centers

    def update(self, batch: Batch) -> dict[str, tf.Tensor]:
        """One training step on this replica's share of the global batch; call in replica context.

        Args:
            batch: `features` [N, (s), 2D] ragged and what `loss_terms` reads.

        Returns:
            Scalars over the *global* batch, the same on every replica: `loss` (Eq. 1, weighted) and each term
            unweighted, by the names of `term_names`; `count_videos`, how many videos the count terms saw;
            `segments`, how many rows the batch had;
            `learning_rate`; `gradient_norm`, global, of the loss alone and before clipping; and where there is a
            center loss `center_norm_<stream>`, the centers' mean length.
        """
        replica = tf.distribute.get_replica_context()
        add = tf.distribute.ReduceOp.SUM
        step = tf.cast(tf.convert_to_tensor(self.optimizer.iterations), tf.int64)
        with tf.GradientTape() as tape:
            outputs = self(batch["features"], training=True, step=step)
            terms, centers = self.loss_terms(batch, outputs, step)
            names = list(terms)
            weights = replica.all_reduce(add, [terms[name].weight for name in names])
            shares = {  # this replica's share: summed over replicas it is the global value
                name: tf.math.divide_no_nan(terms[name].total, weight ** terms[name].power)
                for name, weight in zip(names, weights)
            }
            loss = tf.add_n([self._weight_of(name, step) * shares[name] for name in names])
        variables = self.trainable_variables
        gradients, gradient_norm = clip_shares(tape.gradient(loss, variables), self.clip_norm)
        gradients = add_l2(gradients, variables, self.weight_decay)
        learning_rate = learning_rate_of(self.optimizer)
        self.optimizer.apply_gradients(zip(gradients, variables))
        if self.average is not None:
            self.average.update(step)
        for name, center in centers.items():
            update_centers(
                self.centers[name], center.offset_sum, center.pair_count, self.loss_config.center_learning_rate
            )
        segments = tf.cast(tf.shape(batch["features"].flat_values)[0], tf.float32)
        values = replica.all_reduce(add, [loss, *(shares[name] for name in names), segments])
        result = dict(zip(("loss", *names, "segments"), values))
        result["count_videos"] = weights[names.index("count_positive")] if "count_positive" in names else tf.zeros([])
        result.update(learning_rate=learning_rate, gradient_norm=gradient_norm)
        for name in centers:
            result[f"center_norm_{name}"] = tf.reduce_mean(tf.norm(tf.convert_to_tensor(self.centers[name]), axis=1))
        return result

    def train_step(self, data: Batch) -> dict[str, Any]:
        """What `fit` calls: `update`, then the running means (the count terms' over full-length batches only)."""
        values = self.update(data)
        # Both weights depend on the batch, also the one that is always 1: a constant would be counted once more when
        # the data ends, because the update does not wait for the batch that never comes.
        some_videos = tf.cast(tf.shape(data["labels"])[0] > 0, tf.float32)
        some_counts = tf.cast(values["count_videos"] > 0, tf.float32)
        for name, tracker in self.loss_trackers.items():
            weight = some_counts if name.startswith("count") else some_videos
            tracker.update_state(values[name], sample_weight=weight)
        return {name: tracker.result() for name, tracker in self.loss_trackers.items()}
