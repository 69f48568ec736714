"""The laws of variational losses, on a linear-Gaussian model whose evidence is exact."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from genloss.losses._law_tools import Setting, derivatives_agree, descend, finite, number, probe, same, seeded
from genloss.losses.laws import LawBroken, LawSkipped, law
from genloss.losses.variational import DiagonalNormal, VariationalLoss, VariationalTerms

__all__: list[str] = []

_BATCH = 4
_DRAWS = 300  # of the batch, for means
_FAR = 20.0  # a divergence of 400 nats
_NOISE = 0.5  # the model: z of two dimensions is drawn from the prior, x = z + noise


def _prior(x: Tensor) -> DiagonalNormal:
    """Returns a prior of every sample's own, as a condition gives it."""
    return DiagonalNormal(mean=0.5 * x.flip(-1), log_variance=0.3 * x)


def _evidence(x: Tensor) -> Tensor:
    prior = _prior(x)
    log_variance = (prior.log_variance.exp() + _NOISE**2).log()
    return DiagonalNormal(mean=prior.mean, log_variance=log_variance).log_prob(x)


def _log_likelihood(x: Tensor, z: Tensor) -> Tensor:
    return -0.5 * ((x - z).square() / _NOISE**2 + math.log(2.0 * math.pi * _NOISE**2)).sum(-1)


def _data(size: int) -> Tensor:
    values = torch.linspace(-1.0, 1.5, 2 * _BATCH, dtype=torch.float64).reshape(2, _BATCH).T
    return values.repeat(size // _BATCH, 1)


def _posterior(x: Tensor, error: Tensor | float) -> DiagonalNormal:
    """Returns the true posterior, with `error`, one or one a sample, added to its mean and log-variance."""
    shift, prior = (torch.zeros_like(x).mT + error).mT, _prior(x)
    trust = 1.0 / (_NOISE**2 * (-prior.log_variance).exp() + 1.0)  # in the data; the rest is in the prior
    mean = trust * x + (1.0 - trust) * prior.mean
    return DiagonalNormal(mean=mean + shift, log_variance=(trust * _NOISE**2).log() + shift)


def _rows(q: DiagonalNormal, rows: slice) -> DiagonalNormal:
    return DiagonalNormal(mean=q.mean[rows], log_variance=q.log_variance[rows])


def _most(loss: VariationalLoss, size: int) -> int:
    """Returns the largest whole batch up to this size that the loss takes: none is larger than its data set."""
    most = min(size, getattr(loss, "dataset_size", size))
    return most - most % _BATCH


def _run(loss: VariationalLoss, size: int = _BATCH, error: Tensor | float = 0.5) -> VariationalTerms:
    x = _data(size)
    q, prior = _posterior(x, error), _prior(x)
    z, rng = q.sample(seeded(), loss.samples), seeded(1)
    log_likelihood = _log_likelihood(x, z)
    pieces, most = [], _most(loss, size)
    for rows in (slice(start, start + most) for start in range(0, size, most)):
        pieces.append(loss(_rows(q, rows), _rows(prior, rows), z[:, rows], log_likelihood[:, rows], rng=rng))
    return VariationalTerms(
        surrogate=torch.cat([piece.surrogate for piece in pieces]),
        bound=torch.cat([piece.bound for piece in pieces]),
        parts={name: torch.cat([piece.parts[name] for piece in pieces]) for name in pieces[0].parts},
    )


@probe("variational")
def _probe(loss: VariationalLoss, setting: Setting) -> dict[str, Tensor]:
    """Returns surrogate and bound, and the surrogate's gradient in the posterior."""
    mean, log_variance = (setting.normal(_BATCH, 2, seed=seed).requires_grad_() for seed in (1, 2))
    q = DiagonalNormal(mean=mean, log_variance=log_variance)
    prior = DiagonalNormal(mean=setting.normal(_BATCH, 2, seed=4), log_variance=setting.normal(_BATCH, 2, seed=5))
    noise, log_likelihood = setting.normal(loss.samples, _BATCH, 2, seed=3), setting.normal(loss.samples, _BATCH)
    z = mean + (0.5 * log_variance.to(torch.promote_types(setting.dtype, torch.float32))).exp() * noise
    terms = loss(q, prior, z, log_likelihood, rng=setting.rng)
    gradients = torch.autograd.grad(terms.surrogate.sum(), (mean, log_variance))
    return {
        "the surrogate": terms.surrogate.detach(),
        "the bound": terms.bound.detach(),
        "gradient in the posterior": torch.cat(gradients),
    }


@law("variational", shape=True)
def returns_one_value_a_sample(loss: VariationalLoss) -> str:
    """Surrogate, bound and every part are finite and have one value a sample."""
    terms = _run(loss)
    for name, value in {"surrogate": terms.surrogate, "bound": terms.bound, **terms.parts}.items():
        if value.shape != (_BATCH,):
            raise LawBroken(f"{name} has shape {tuple(value.shape)}, expected ({_BATCH},).")
        finite(f"{name} is", value)
    return f"parts {', '.join(sorted(terms.parts))}"


@law("variational")
def bound_is_below_the_evidence(loss: VariationalLoss) -> str:
    """What is reported does not exceed log p(x) in the mean, and reaches it at the true posterior."""
    size = _DRAWS * _BATCH
    evidence = _evidence(_data(size)).mean()
    # The error makes a surrogate such as the weighted mean of log w exceed the evidence.
    rough = _run(loss, size, error=0.5).bound
    slack = 5.0 * float(rough.std()) / size**0.5
    if rough.mean() > evidence + slack:
        raise LawBroken(
            f"the bound reported is {number(rough.mean())} in the mean for an evidence of {number(evidence)}, expected "
            f"no more; report the bound and not the surrogate."
        )
    tight = _run(loss, size, error=0.0).bound
    slack = 5.0 * float(tight.std()) / size**0.5 + 1e-6
    same("at the true posterior the mean bound is", tight.mean(), evidence, relative=0.0, absolute=slack)
    return (
        f"{number(rough.mean())} with a rough posterior, {number(tight.mean())} with the true one: {number(evidence)}"
    )


@law("variational")
def rests_at_the_truth(loss: VariationalLoss) -> str:
    """At the true posterior no change of it raises the bound, in the mean."""
    size = _DRAWS * _BATCH
    error = torch.zeros(size, dtype=torch.float64, requires_grad=True)
    (slopes,) = torch.autograd.grad(_run(loss, size, error).bound.sum(), error)
    slack = 5.0 * float(slopes.std()) / size**0.5 + 1e-6
    if not abs(float(slopes.mean())) < slack:
        raise LawBroken(
            f"a shift of the true posterior's mean and log-variance changes the mean bound with slope "
            f"{number(slopes.mean())}, expected 0 within {slack:.2g}."
        )
    return f"slope {number(slopes.mean())}, within {slack:.2g} of 0"


def _capacity(loss: VariationalLoss) -> float:
    """Returns the divergence in nats that the loss steers to, 0 for most."""
    return getattr(loss, "capacity", None) or 0.0


@law("variational")
def improves_the_bound(loss: VariationalLoss) -> str:
    """Minimising it from a rough posterior raises the bound."""
    if _capacity(loss) > 0.0:
        raise LawSkipped(f"it holds the divergence at {_capacity(loss):g} nats, whatever that does to the bound")
    error = torch.ones((), dtype=torch.float64, requires_grad=True)
    size = _DRAWS  # some losses compare all pairs of the batch
    before = _run(loss, size, error).bound.mean()
    descend(lambda: _run(loss, size, error).surrogate.mean(), [error], rate=0.1, steps=40)
    after = _run(loss, size, error).bound.mean()
    if not after > before:
        raise LawBroken(
            f"40 steps down the surrogate take the mean bound from {number(before)} to {number(after)}, expected more."
        )
    return f"from {number(before)} to {number(after)}, evidence {number(_evidence(_data(size)).mean())}"


@law("variational")
def does_not_leave_the_prior(loss: VariationalLoss) -> str:
    """Where the data say nothing of the latents, minimising takes a far posterior no further from the prior."""
    far = _FAR + _capacity(loss)
    shift = torch.tensor(far, dtype=torch.float64, requires_grad=True)
    mean = shift.expand(_most(loss, _DRAWS), 2)
    q = DiagonalNormal(mean=mean, log_variance=torch.zeros_like(mean))
    z = q.sample(seeded(), loss.samples)
    terms = loss(q, DiagonalNormal.standard_like(q), z, 0.0 * z.sum(-1), rng=seeded(1))
    slope = float(torch.autograd.grad(terms.surrogate.mean(), shift)[0])
    # Not more than 0 alone: a weight may be 0, and a kernel may not see as far.
    if not slope >= -1e-6:
        raise LawBroken(
            f"{far:.0f} from the prior's mean a step away from it changes the surrogate with slope {slope:.4g}, "
            f"expected none below 0: the divergence has the wrong sign in what is minimised."
        )
    return f"slope {slope:.4g} at {far:.0f} from the prior's mean"


@law("variational")
def trains_the_decoder_on_the_bound(loss: VariationalLoss) -> str:
    """The gradient in the log-likelihood is that of the bound with its sign turned, and the bound's is right."""
    x = _data(_BATCH)
    q = _posterior(x, 0.5)
    z = q.sample(seeded(2), loss.samples)
    prior, log_likelihood = _prior(x), _log_likelihood(x, z).requires_grad_()

    def terms(values: Tensor) -> VariationalTerms:
        return loss(q, prior, z, values, rng=seeded(1))

    derivatives_agree("the bound", lambda values: terms(values).bound, (log_likelihood,), second=False)
    found, expected = (
        torch.autograd.grad(value.sum(), log_likelihood)[0]
        for value in (terms(log_likelihood).surrogate, -terms(log_likelihood).bound)
    )
    error = same("the surrogate's gradient in the log-likelihood is", found, expected, relative=1e-6)
    return f"largest difference {error:.1e}"


@law("variational")
def survives_extremes(loss: VariationalLoss) -> str:
    """Surrogate, bound and gradient are finite in float32 where the data are very unlikely or the posterior is odd."""
    for log_likelihood, log_variance in ((-1e6, 0.0), (-1e3, -30.0), (-1e3, 15.0)):
        mean = torch.full((_BATCH, 2), 3.0, requires_grad=True)
        q = DiagonalNormal(mean=mean, log_variance=torch.full((_BATCH, 2), log_variance, requires_grad=True))
        z = q.sample(seeded(3), loss.samples)
        values = torch.linspace(log_likelihood, 0.5 * log_likelihood, loss.samples)[:, None].repeat(1, _BATCH)
        terms = loss(q, DiagonalNormal.standard_like(q), z, values, rng=seeded(1))
        where = f"at log-likelihood {log_likelihood:.0e} and log-variance {log_variance:.0f}"
        finite(f"{where} the surrogate is", terms.surrogate)
        finite(f"{where} the bound is", terms.bound)
        for gradient in torch.autograd.grad(terms.surrogate.sum(), (mean, q.log_variance)):
            finite(f"{where} the gradient is", gradient)
    return "finite"


@law("variational")
def trusts_likelier_latents(loss: VariationalLoss) -> str:
    """Minimising raises the log-likelihood at every latent, and not more at the less likely ones."""
    x = _data(_BATCH)
    q = _posterior(x, 0.0)
    z = q.sample(seeded(2), loss.samples)
    log_likelihood = (torch.arange(loss.samples).double() * 3.0)[:, None].repeat(1, _BATCH).requires_grad_()
    # With posterior and prior alike, the log-likelihoods alone decide the weights.
    terms = loss(q, q, z, log_likelihood, rng=seeded(3))
    (gradient,) = torch.autograd.grad(terms.surrogate.sum(), log_likelihood)
    weights = -gradient
    same("the weights over latents sum to", weights.sum(0), torch.ones(_BATCH).double(), relative=1e-6)
    if bool((weights < -1e-9).any()) or bool((weights.diff(dim=0) < -1e-9).any()):
        raise LawBroken(
            f"latents of rising likelihood get the weights {number(weights[:, 0])}, expected none below 0 and none to "
            f"fall; the softmax is of log w, not of its negative."
        )
    return f"weights {number(weights[:, 0])}"


@law("variational")
def declares_what_couples_the_batch(loss: VariationalLoss) -> str:
    """The terms of a batch are those of its parts, put together, unless couples_batch says so."""
    if loss.couples_batch:
        raise LawSkipped("it declares couples_batch")
    x = _data(_BATCH)
    q = _posterior(x, 0.5)
    z = q.sample(seeded(4), loss.samples)
    prior, log_likelihood = _prior(x), _log_likelihood(x, z)
    terms = loss(q, prior, z, log_likelihood, rng=seeded(1))
    parts = []
    for rows in (slice(0, 1), slice(1, _BATCH)):
        parts.append(loss(_rows(q, rows), _rows(prior, rows), z[:, rows], log_likelihood[:, rows], rng=seeded(1)))
    same("in parts the surrogate is", torch.cat([part.surrogate for part in parts]), terms.surrogate)
    same("in parts the bound is", torch.cat([part.bound for part in parts]), terms.bound)
    return "samples do not see each other"
