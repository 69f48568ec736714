"""Kullback-Leibler divergences between normal distributions, in closed form."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from genloss.losses._checks import at_least_float32, floating, not_empty, same_kind, same_shape

__all__ = ["kl_diagonal_normal", "kl_normal"]


def kl_diagonal_normal(
    mean: Tensor,
    log_variance: Tensor,
    prior_mean: Tensor | None = None,
    prior_log_variance: Tensor | None = None,
) -> Tensor:
    r"""Returns $KL(N(\mu,\sigma^2)\Vert N(\mu_0,\sigma_0^2))$ of diagonal normal distributions, per sample.

    $$\frac12\sum_j\Big(\frac{\sigma_j^2+(\mu_j-\mu_{0j})^2}{\sigma_{0j}^2}-1-\log\frac{\sigma_j^2}{\sigma_{0j}^2}\Big)$$

    Args:
        mean: `(..., dim)`.
        log_variance: $\log\sigma^2$, same shape.
        prior_mean: same shape; 0 by default.
        prior_log_variance: same shape; 0 by default.

    Returns:
        `(...)`, nats.

    Raises:
        TypeError: a tensor is not floating, or dtypes or devices differ (half precision counts as float32).
        ValueError: a tensor is empty, or shapes differ.

    Example:
        >>> kl_diagonal_normal(torch.tensor([[1.0, 0.0]]), torch.zeros(1, 2))
        tensor([0.5000])

    Source: Kingma & Welling 2014, appendix B; Qiu 2020, equation 13.26.
    """
    return kl_diagonal_normal_terms(mean, log_variance, prior_mean, prior_log_variance).sum(-1)


def kl_diagonal_normal_terms(
    mean: Tensor,
    log_variance: Tensor,
    prior_mean: Tensor | None = None,
    prior_log_variance: Tensor | None = None,
) -> Tensor:
    """Returns the divergence of every dimension, `(..., dim)`: what `kl_diagonal_normal` sums."""
    given = {"prior_mean": prior_mean, "prior_log_variance": prior_log_variance}
    tensors = {"mean": mean, "log_variance": log_variance, **{k: v for k, v in given.items() if v is not None}}
    floating(**tensors)
    not_empty(**tensors)
    same_shape(**tensors)
    tensors = {name: at_least_float32(tensor) for name, tensor in tensors.items()}
    same_kind(**tensors)
    offset, log_ratio = tensors["mean"], tensors["log_variance"]
    if prior_mean is not None:
        offset = offset - tensors["prior_mean"]
    if prior_log_variance is not None:
        log_ratio = log_ratio - tensors["prior_log_variance"]
        # Scaled before it is squared: a prior that is very narrow would make 0 times infinity.
        offset = offset * inverse_deviation(tensors["prior_log_variance"])
    # expm1(t) - t keeps its digits near t = 0, where exp(t) - 1 - t cancels.
    return 0.5 * (torch.expm1(log_ratio) - log_ratio + offset.square())


def inverse_deviation(log_variance: Tensor) -> Tensor:
    r"""Returns $1/\sigma$, finite for the narrowest distribution too: an offset of 0 times infinity would be NaN."""
    largest = math.log(torch.finfo(log_variance.dtype).max) - 1.0
    return (-0.5 * log_variance.clamp(min=-2.0 * largest)).exp()


def kl_normal(mean: Tensor, covariance: Tensor, prior_mean: Tensor, prior_covariance: Tensor) -> Tensor:
    r"""Returns $KL(N(\mu,\Sigma)\Vert N(\mu_0,\Sigma_0))$ of normal distributions with full covariances, per sample.

    $$\frac12\big(\mathrm{tr}(\Sigma_0^{-1}\Sigma)+(\mu_0-\mu)^\top\Sigma_0^{-1}(\mu_0-\mu)-d+\log\frac{|\Sigma_0|}{|\Sigma|}\big)$$

    Args:
        mean: `(..., dim)`.
        covariance: `(..., dim, dim)`, symmetric and positive definite.
        prior_mean: `(..., dim)`.
        prior_covariance: `(..., dim, dim)`, symmetric and positive definite.

    Returns:
        `(...)`, nats.

    Raises:
        TypeError: a tensor is not floating, or dtypes or devices differ (half precision counts as float32).
        ValueError: a tensor is empty, shapes do not fit, or a covariance is not positive definite.

    Example:
        >>> eye = torch.eye(2)
        >>> kl_normal(torch.ones(2), eye, torch.zeros(2), eye)
        tensor(1.)

    Source: Qiu 2020, equation 13.25.
    """
    floating(mean=mean, covariance=covariance, prior_mean=prior_mean, prior_covariance=prior_covariance)
    not_empty(mean=mean, covariance=covariance)
    same_shape(mean=mean, prior_mean=prior_mean)
    same_shape(covariance=covariance, prior_covariance=prior_covariance)
    if covariance.shape != (*mean.shape, mean.shape[-1]):
        raise ValueError(
            f"covariance has shape {tuple(covariance.shape)}, expected {(*mean.shape, mean.shape[-1])} to fit mean "
            f"{tuple(mean.shape)}."
        )
    mean, covariance = at_least_float32(mean), at_least_float32(covariance)
    prior_mean, prior_covariance = at_least_float32(prior_mean), at_least_float32(prior_covariance)
    same_kind(mean=mean, covariance=covariance, prior_mean=prior_mean, prior_covariance=prior_covariance)
    root, prior_root = _cholesky(covariance, "covariance"), _cholesky(prior_covariance, "prior_covariance")
    offset = (prior_mean - mean).unsqueeze(-1)
    whitened = torch.linalg.solve_triangular(prior_root, root, upper=False).square().sum((-2, -1))
    distance = torch.linalg.solve_triangular(prior_root, offset, upper=False).square().sum((-2, -1))
    log_ratio = (prior_root.diagonal(dim1=-2, dim2=-1).log() - root.diagonal(dim1=-2, dim2=-1).log()).sum(-1)
    value: Tensor = 0.5 * (whitened + distance - mean.shape[-1]) + log_ratio
    return value


def _cholesky(matrix: Tensor, name: str) -> Tensor:
    if not torch.allclose(matrix, matrix.mT, rtol=1e-4, atol=1e-6):
        raise ValueError(
            f"{name} is not symmetric; expected a covariance matrix. Use (S + S.mT) / 2 if it is nearly so."
        )
    root: Tensor
    root, failed = torch.linalg.cholesky_ex(matrix)
    if bool(failed.any()):
        raise ValueError(f"{name} is not positive definite; expected all eigenvalues above 0. Add a small diagonal.")
    return root
