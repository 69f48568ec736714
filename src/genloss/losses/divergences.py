"""Divergences between probability vectors, what they say of adversarial games, and estimates from samples."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import softplus

from genloss.losses._checks import at_least_float32, floating, not_empty, same_kind, same_shape
from genloss.losses._fields import finite_number

__all__ = [
    "f_divergence",
    "forward_kl",
    "hellinger",
    "jensen_shannon",
    "minimax_value",
    "monte_carlo_jensen_shannon",
    "monte_carlo_kl",
    "non_saturating_value",
    "optimal_discriminator",
    "reverse_kl",
    "total_variation",
]

_SUM_TOLERANCE = 1e-4


def _probabilities(real: Tensor, model: Tensor) -> tuple[Tensor, Tensor]:
    """Checks two probability vectors over the last axis."""
    floating(real=real, model=model)
    not_empty(real=real, model=model)
    same_shape(real=real, model=model)
    same_kind(real=real, model=model)
    for name, p in (("real", real), ("model", model)):
        total = p.detach().sum(-1)
        if bool((p < 0.0).any()) or not torch.allclose(total, torch.ones_like(total), rtol=0.0, atol=_SUM_TOLERANCE):
            raise ValueError(
                f"{name} is no probability vector: its lowest value is {float(p.min()):.4g} and its sums lie in "
                f"[{float(total.min()):.4g}, {float(total.max()):.4g}]; expected values of at least 0 that sum to 1 "
                f"over the last axis. Divide by the sum, or use a softmax."
            )
    return at_least_float32(real), at_least_float32(model)


def _expected_log_ratio(weights: Tensor, p: Tensor, q: Tensor) -> Tensor:
    """Returns the sum of w log(p / q); a place of weight 0 counts nothing, in the gradient either."""
    never = weights == 0.0
    p, q = p.masked_fill(never, 1.0), q.masked_fill(never, 1.0)
    return (weights * (p.log() - q.log())).masked_fill(never, 0.0).sum(-1)


def _root(p: Tensor) -> Tensor:
    """Returns the square root, with the gradient 0 instead of infinity where p is 0."""
    never = p == 0.0
    return p.masked_fill(never, 1.0).sqrt().masked_fill(never, 0.0)


def forward_kl(real: Tensor, model: Tensor) -> Tensor:
    r"""Returns $KL(p_r\Vert p_g)=\sum_x p_r\log\frac{p_r}{p_g}$: maximum likelihood up to a constant.

    It charges the model for every place where it misses real data, so its minimum covers all modes. Infinite where the
    model gives 0 to what occurs.

    Args:
        real: probabilities `(..., outcomes)`.
        model: probabilities of the same shape.

    Returns:
        `(...)`, nats.

    Raises:
        TypeError: a tensor is not floating, or dtypes or devices differ.
        ValueError: a tensor is empty, shapes differ, or a vector is no probability vector.

    Example:
        >>> forward_kl(torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.5]))
        tensor(0.6931)

    Source: Qiu 2020, figure 13.10.
    """
    p, q = _probabilities(real, model)
    return _expected_log_ratio(p, p, q)


def reverse_kl(real: Tensor, model: Tensor) -> Tensor:
    r"""Returns $KL(p_g\Vert p_r)$, which charges the model for what does not occur: its minimum seeks one mode.

    Args, result and errors as of `forward_kl`. Infinite where the model puts mass on what does not occur.

    Example:
        >>> reverse_kl(torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.5]))
        tensor(inf)

    Source: Qiu 2020, figure 13.10.
    """
    p, q = _probabilities(real, model)
    return _expected_log_ratio(q, q, p)


def jensen_shannon(real: Tensor, model: Tensor) -> Tensor:
    r"""Returns $\frac12KL(p_r\Vert m)+\frac12KL(p_g\Vert m)$ with $m=\frac12(p_r+p_g)$, in $[0,\log2]$.

    Equal to $\log2$ for disjoint supports, however far apart: a generator then has no gradient.

    Args, result and errors as of `forward_kl`.

    Example:
        >>> jensen_shannon(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]))
        tensor(0.6931)

    Source: Qiu 2020, equations 13.41 and 13.42.
    """
    p, q = _probabilities(real, model)
    total = p + q
    return 0.5 * (_expected_log_ratio(p, 2.0 * p, total) + _expected_log_ratio(q, 2.0 * q, total))


def total_variation(real: Tensor, model: Tensor) -> Tensor:
    r"""Returns $\frac12\sum_x|p_r-p_g|$, in [0, 1]: the largest difference of probability of any event.

    Args, result (no unit) and errors as of `forward_kl`.

    Example:
        >>> total_variation(torch.tensor([1.0, 0.0]), torch.tensor([0.25, 0.75]))
        tensor(0.7500)

    Source: Nowozin, Cseke & Tomioka 2016, table 6 (there without the half).
    """
    p, q = _probabilities(real, model)
    return 0.5 * (p - q).abs().sum(-1)


def hellinger(real: Tensor, model: Tensor) -> Tensor:
    r"""Returns the Hellinger distance $\sqrt{\frac12\sum_x(\sqrt{p_r}-\sqrt{p_g})^2}$, in [0, 1].

    Its square is an f-divergence.

    Args, result (no unit) and errors as of `forward_kl`.

    Example:
        >>> hellinger(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]))
        tensor(1.0000)

    Source: Nowozin, Cseke & Tomioka 2016, table 6 (there squared and without the half).
    """
    p, q = _probabilities(real, model)
    distance: Tensor = torch.linalg.vector_norm(_root(p) - _root(q), dim=-1)
    return distance * math.sqrt(0.5)


def f_divergence(name: str, real: Tensor, model: Tensor, *, alpha: float | None = None) -> Tensor:
    r"""Returns $D_f(p_r\Vert p_g)=\sum_x p_g\,f(p_r/p_g)$ for the generator functions of f-GAN.

    Args:
        name: `kl`, `reverse_kl`, `pearson`, `neyman`, `squared_hellinger` $\sum(\sqrt{p_r}-\sqrt{p_g})^2$,
            `jensen_shannon` (twice the divergence of `jensen_shannon`), `gan` (that less $2\log2$),
            `total_variation` $\frac12\sum|p_r-p_g|$, or `alpha`
            $\frac1{\alpha(\alpha-1)}\big(\sum p_r^\alpha p_g^{1-\alpha}-1\big)$.
        real: probabilities `(..., outcomes)`.
        model: probabilities of the same shape.
        alpha: the order for `alpha`, finite, neither 0 nor 1; None for the others.

    Returns:
        `(...)`; nats for the logarithmic ones.

    Raises:
        TypeError: a tensor is not floating, or dtypes or devices differ.
        ValueError: the name is unknown, the order does not fit, shapes differ, or a vector is no probability vector.

    Example:
        >>> f_divergence("pearson", torch.tensor([0.5, 0.5]), torch.tensor([0.25, 0.75]))
        tensor(0.3333)

    Source: Nowozin, Cseke & Tomioka 2016, table 6.
    """
    p, q = _probabilities(real, model)
    if (alpha is not None) != (name == "alpha"):
        raise ValueError(f"name is {name!r} and alpha {alpha}; expected an order for the name 'alpha' and no other.")
    if alpha is not None:
        return _alpha_divergence(p, q, alpha)
    divergences: dict[str, Callable[[], Tensor]] = {
        "kl": lambda: forward_kl(p, q),
        "reverse_kl": lambda: reverse_kl(p, q),
        "pearson": lambda: _chi_squared(p, q),
        "neyman": lambda: _chi_squared(q, p),
        "squared_hellinger": lambda: (_root(p) - _root(q)).square().sum(-1),
        "jensen_shannon": lambda: 2.0 * jensen_shannon(p, q),
        "gan": lambda: minimax_value(p, q),
        "total_variation": lambda: total_variation(p, q),
    }
    if name not in divergences:
        raise ValueError(f"name is {name!r}, expected one of {', '.join(divergences)}, alpha.")
    return divergences[name]()


def _alpha_divergence(p: Tensor, q: Tensor, alpha: float) -> Tensor:
    finite_number(alpha=alpha)
    if alpha in (0.0, 1.0):
        raise ValueError(f"alpha is {alpha}, expected a finite number other than 0 and 1; these are reverse_kl and kl.")
    # The sum of p ((p / q)^(alpha - 1) - 1), or of q ((p / q)^alpha - 1), since both sum to 1: the one with the smaller
    # exponent keeps its digits where that goes to 0.
    weights, others, exponent = (p, q, alpha - 1.0) if alpha > 0.5 else (q, p, -alpha)
    never = weights == 0.0
    alone = (others == 0.0) & ~never
    log_weights, log_others = (side.masked_fill(never | alone, 1.0).log() for side in (weights, others))
    # What the weights' side has alone is to the power of infinity: it leaves less 1, or the whole is endless.
    less_one = torch.expm1(exponent * (log_weights - log_others)).masked_fill(alone, -1.0)
    total = (weights * less_one).masked_fill(never, 0.0).sum(-1)
    if exponent > 0.0:
        total = total.masked_fill(alone.any(-1), math.inf)
    return total / (alpha * (alpha - 1.0))


def _chi_squared(p: Tensor, q: Tensor) -> Tensor:
    """Returns the sum of (p - q)^2 / q, 0 where both are 0."""
    difference = p - q
    # Divided before it is squared, which for small numbers would be 0.
    return (difference * (difference / q.masked_fill(difference == 0.0, 1.0))).sum(-1)


def optimal_discriminator(real: Tensor, model: Tensor) -> Tensor:
    r"""Returns $D^\star(x)=p_r(x)/(p_r(x)+p_g(x))$, the best discriminator of the minimax game.

    Args:
        real: densities of real data at some points, any shape, not negative.
        model: densities of the model at the same points, same shape.

    Returns:
        Probabilities of being real, same shape; 1/2 where both densities are 0.

    Raises:
        TypeError: a tensor is not floating, or dtypes or devices differ.
        ValueError: shapes differ, or a density is negative.

    Example:
        >>> optimal_discriminator(torch.tensor([0.3, 0.0]), torch.tensor([0.1, 0.0]))
        tensor([0.7500, 0.5000])

    Source: Goodfellow et al. 2014, proposition 1; Qiu 2020, equation 13.37 and exercise 13-1.
    """
    floating(real=real, model=model)
    same_shape(real=real, model=model)
    same_kind(real=real, model=model)
    for name, density in (("real", real), ("model", model)):
        if bool((density < 0.0).any()):
            raise ValueError(
                f"{name} holds {float(density.min()):.4g}, expected densities of at least 0; take exp() of logarithms."
            )
    real, model = at_least_float32(real), at_least_float32(model)
    # In units of the larger one, where their sum cannot overflow.
    larger = torch.maximum(real, model).detach()
    nowhere = larger == 0.0
    real, model = (density / larger.masked_fill(nowhere, 1.0) for density in (real, model))
    return torch.where(nowhere, 0.5, real / (real + model).masked_fill(nowhere, 1.0))


def minimax_value(real: Tensor, model: Tensor) -> Tensor:
    r"""Returns the game's value at the best discriminator, $2\,JS(p_r\Vert p_g)-2\log2$.

    Args, result and errors as of `forward_kl`.

    Example:
        >>> minimax_value(torch.tensor([0.5, 0.5]), torch.tensor([0.5, 0.5]))
        tensor(-1.3863)

    Source: Goodfellow et al. 2014, theorem 1; Qiu 2020, equation 13.41.
    """
    return 2.0 * jensen_shannon(real, model) - 2.0 * math.log(2.0)


def non_saturating_value(real: Tensor, model: Tensor) -> Tensor:
    r"""Returns $E_{p_g}[\log D^\star]$: what the non-saturating generator raises at the best discriminator.

    $$-KL(p_g\Vert p_r)+2\,JS(p_g\Vert p_r)-2\log2-E_{p_r}[\log D^\star]$$

    The reverse KL in it is why that generator drops modes, and the JS of opposite sign why its gradient is unstable.
    The last terms depend on the generator too, through $D^\star$; the known form of the gradient holds with $D^\star$
    frozen.

    Args, result and errors as of `forward_kl`.

    Example:
        >>> non_saturating_value(torch.tensor([0.5, 0.5]), torch.tensor([0.5, 0.5]))
        tensor(-0.6931)

    Source: Qiu 2020, equation 13.47; Arjovsky & Bottou 2017, theorem 2.5.
    """
    p, q = _probabilities(real, model)
    return _expected_log_ratio(q, p, p + q)


def monte_carlo_kl(log_p: Tensor, log_q: Tensor, *, controlled: bool = False) -> Tensor:
    r"""Returns an estimate of $KL(p\Vert q)$ for each sample of $p$.

    $\log p-\log q$ is unbiased and may be negative. With a control variate, $r-1-\log r$ for $r=q/p$, it is unbiased
    as long as $q$ has no mass where $p$ has none, never negative, and less noisy where both are close; far apart it is
    noisier.

    Args:
        log_p: log-densities of samples of $p$ under $p$, any shape, nats.
        log_q: of the same samples under $q$, same shape.
        controlled: use the control variate.

    Returns:
        One value a sample; take the mean.

    Raises:
        TypeError: a tensor is not floating, or dtypes or devices differ (half precision counts as float32).
        ValueError: a tensor is empty or shapes differ.

    Example:
        >>> monte_carlo_kl(torch.tensor([0.0, -1.0]), torch.tensor([-1.0, -0.5]))
        tensor([ 1.0000, -0.5000])
    """
    floating(log_p=log_p, log_q=log_q)
    not_empty(log_p=log_p)
    same_shape(log_p=log_p, log_q=log_q)
    log_p, log_q = at_least_float32(log_p), at_least_float32(log_q)
    same_kind(log_p=log_p, log_q=log_q)
    log_ratio = log_q - log_p
    return torch.expm1(log_ratio) - log_ratio if controlled else -log_ratio


def monte_carlo_jensen_shannon(
    log_p_at_p: Tensor, log_q_at_p: Tensor, log_p_at_q: Tensor, log_q_at_q: Tensor
) -> Tensor:
    r"""Returns an estimate of the Jensen-Shannon divergence from samples of both densities, a scalar.

    Unbiased, since both densities are known: each side is the mean of a bounded function of its own samples. With
    densities estimated from the same samples it would be biased upwards.

    Args:
        log_p_at_p: log-densities of samples of $p$ under $p$, `(n,)`, nats.
        log_q_at_p: of the same samples under $q$.
        log_p_at_q: log-densities of samples of $q$ under $p$, `(m,)`.
        log_q_at_q: of the same samples under $q$.

    Returns:
        A scalar, nats.

    Raises:
        TypeError: a tensor is not floating, or dtypes or devices differ (half precision counts as float32).
        ValueError: a tensor is empty, or shapes of one set differ.

    Example:
        >>> far = torch.tensor([-100.0])
        >>> monte_carlo_jensen_shannon(torch.zeros(1), far, far, torch.zeros(1))
        tensor(0.6931)
    """
    floating(log_p_at_p=log_p_at_p, log_q_at_p=log_q_at_p, log_p_at_q=log_p_at_q, log_q_at_q=log_q_at_q)
    not_empty(log_p_at_p=log_p_at_p, log_p_at_q=log_p_at_q)
    same_shape(log_p_at_p=log_p_at_p, log_q_at_p=log_q_at_p)
    same_shape(log_p_at_q=log_p_at_q, log_q_at_q=log_q_at_q)
    log_p_at_p, log_q_at_p = at_least_float32(log_p_at_p), at_least_float32(log_q_at_p)
    log_p_at_q, log_q_at_q = at_least_float32(log_p_at_q), at_least_float32(log_q_at_q)
    same_kind(log_p_at_p=log_p_at_p, log_q_at_p=log_q_at_p, log_p_at_q=log_p_at_q, log_q_at_q=log_q_at_q)
    # log(p / m) = log 2 - softplus(log q - log p), which keeps its digits at either end.
    on_p = softplus(log_q_at_p - log_p_at_p).mean()
    on_q = softplus(log_p_at_q - log_q_at_q).mean()
    return math.log(2.0) - 0.5 * (on_p + on_q)
