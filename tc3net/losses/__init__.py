"""The losses of 3C-Net (Sec. 3.2-3.4) as pure functions of one replica's ragged batch. To be read beside the paper:

Eq. 1   L = L_cls + α L_center + β L_count                    objective.py       `Objective.loss`
Eq. 2   p(j) = softmax over classes of r(j)                   classification.py  `log_class_probability`
Eq. 3   L_cls = L_cls^a + L_cls^f + L_cls^F                   classification.py  `classification_terms`
Eq. 4   a(t, j) = softmax over time of C(t, j)                attention.py       `temporal_attention`
Eq. 5   f(j) = Σ_t a(t, j) x(t) / Σ_t a(t, j)                 attention.py       `aggregate_features`
Eq. 6   L_center^a = 1/N Σ_i Σ_j |f_i(j) - c_j|²              center.py          `center_loss`
Eq. 7   Δc_j = Σ_i (c_j - f_i(j)) / (1 + n_j)                 center.py          `center_delta`
Eq. 8   L_center = L_center^a + L_center^f                    center.py          `center_terms`
Eq. 9   m(j) = Σ_t a(t, j) C^F(t, j)                          counting.py        `predicted_counts`
Eq. 10  L_count = L_count+ + λ L_count-                       counting.py        `count_loss`, `count_terms`

`term.py` says what a term is: it returns sums over videos and the number of videos that took part, never a mean: the
caller adds both over the replicas before it divides, so the replica count cannot change a loss or a gradient.
`config.py` holds every choice, `count_estimators.py` other estimates of a count than Eq. 9. Terms of other methods,
off unless their weight is given, have modules of their own (docs/methods.md). Nothing here knows optimizers, and no
variable but the centers.
"""

from tc3net.losses.attention import aggregate_features, temporal_attention
from tc3net.losses.center import CenterLoss, center_delta, center_loss, update_centers
from tc3net.losses.classification import classification_loss, log_class_probability
from tc3net.losses.config import LossConfig
from tc3net.losses.counting import CountLoss, count_loss, count_share, estimated_counts, predicted_counts
from tc3net.losses.objective import LOSS, Objective, add_term, make_objective
from tc3net.losses.term import LossInputs, LossTerm, Term, WeightedTerm

# Terms of other methods; importing them adds them to the table, in this order.
from tc3net.losses.other_methods.background import Background, HardSuppressed, Suppressed  # isort: skip
from tc3net.losses.other_methods.attention_guides import Guide, Mutual, Sparsity  # isort: skip
from tc3net.losses.other_methods.video_level import Pooled  # isort: skip
from tc3net.losses.other_methods.evidential import Evidential  # isort: skip
from tc3net.losses.other_methods.co_activity import CoActivity  # isort: skip
from tc3net.losses.other_methods.feature_magnitude import FeatureMagnitude, UniformBackground  # isort: skip
from tc3net.losses.other_methods.snippet_contrast import SnippetContrast  # isort: skip
from tc3net.losses.other_methods.boundary import Boundary  # isort: skip

__all__ = [
    "LOSS",
    "Background",
    "Boundary",
    "CenterLoss",
    "CoActivity",
    "CountLoss",
    "Evidential",
    "FeatureMagnitude",
    "Guide",
    "HardSuppressed",
    "LossConfig",
    "LossInputs",
    "LossTerm",
    "Mutual",
    "Objective",
    "Pooled",
    "SnippetContrast",
    "Sparsity",
    "Suppressed",
    "Term",
    "UniformBackground",
    "WeightedTerm",
    "add_term",
    "aggregate_features",
    "center_delta",
    "center_loss",
    "classification_loss",
    "count_loss",
    "count_share",
    "estimated_counts",
    "log_class_probability",
    "make_objective",
    "predicted_counts",
    "temporal_attention",
    "update_centers",
]
