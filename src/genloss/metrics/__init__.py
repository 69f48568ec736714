"""How good samples are: every metric takes tensors and returns a number with its conventions."""

from genloss.metrics.base import MetricValue
from genloss.metrics.frechet import frechet_distance
from genloss.metrics.log_likelihood import ImportanceEstimates, importance_estimates, log_likelihood_statistics
from genloss.metrics.manifold import manifold_metrics
from genloss.metrics.mmd import fixed_bandwidths, mmd2
from genloss.metrics.modes import ModeCounts, count_modes, mode_statistics
from genloss.metrics.sliced import sliced_wasserstein

__all__ = [
    "ImportanceEstimates",
    "MetricValue",
    "ModeCounts",
    "count_modes",
    "fixed_bandwidths",
    "frechet_distance",
    "importance_estimates",
    "log_likelihood_statistics",
    "manifold_metrics",
    "mmd2",
    "mode_statistics",
    "sliced_wasserstein",
]
