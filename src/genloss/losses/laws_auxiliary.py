"""The laws of the smaller families: contexts, completions, embeddings, costs, samplers, log-densities, codebooks."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import softplus

from genloss.losses._law_tools import Setting, derivatives_agree, descend, finite, number, probe, same, seeded
from genloss.losses.bag_of_words import ContextLoss
from genloss.losses.completion import CompletionLoss
from genloss.losses.embedding_losses import EmbeddingLoss
from genloss.losses.laws import LawBroken, LawSkipped, law
from genloss.losses.maximum_likelihood import LikelihoodLoss
from genloss.losses.samplers import Energy, Sampler
from genloss.losses.sequence_costs import Cost
from genloss.losses.vector_quantised import VectorQuantised

__all__: list[str] = []

_CHAINS, _TRANSITIONS = 20_000, 60
_TOLERANCE = 0.2  # of a mean, in standard deviations, and of a variance's ratio; a factor forgotten is off by 0.3


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


def _valued(value: Tensor, leaf: Tensor) -> dict[str, Tensor]:
    """Returns what a probe does: a value and its gradient."""
    return {"the loss": value.detach(), "gradient": torch.autograd.grad(value.sum(), leaf)[0]}


def _descends(compute: Callable[[], Tensor], leaf: Tensor) -> str:
    """Returns a message; raises LawBroken where 200 steps down the gradient leave more than half of the loss."""
    first, last = descend(lambda: compute().sum(), [leaf], rate=0.1)
    if not last < 0.5 * first:
        raise LawBroken(f"200 steps take it from {first:.4g} to {last:.4g}, expected less than {0.5 * first:.4g}.")
    return f"from {first:.4g} to {last:.4g}"


def _survives(compute: Callable[[Tensor], Tensor], leaf: Tensor) -> str:
    """Returns a message; raises LawBroken where in float32, at thousands times leaf, it overflows or does not pull."""
    large = (3000.0 * leaf).float().requires_grad_()
    value = compute(large)
    (gradient,) = torch.autograd.grad(value.sum(), large)
    finite("at logits of some thousands the loss is", value)
    finite("at logits of some thousands the gradient is", gradient)
    if not gradient.abs().max() > 1e-2:
        raise LawBroken(
            f"at logits of some thousands, which are wrong, the largest slope is {number(gradient.abs().max())}, "
            f"expected more than 0.01: use log_softmax, which needs no small number added."
        )
    return f"values {number(value)}"


def _context() -> tuple[Tensor, Tensor, Tensor]:
    """Returns logits, targets of 3 tokens and 1, and their mask."""
    targets = torch.tensor([[0, 1, 1], [3, 4, 4]])
    return _normal(2, 5), targets, torch.tensor([[True, True, True], [True, False, False]])


@probe("context")
def _context_probe(loss: ContextLoss, setting: Setting) -> dict[str, Tensor]:
    """Returns the loss and its gradient in the logits."""
    logits, targets, mask = _context()
    logits = setting.tensor(logits).requires_grad_()
    return _valued(loss(logits, targets.to(setting.device), mask.to(setting.device)), logits)


@law("context")
def context_counts_words_under_the_mask(loss: ContextLoss) -> str:
    """Padding counts nothing, sentences do not see each other, and the right words cost less than others."""
    logits, targets, mask = _context()
    whole = loss(logits, targets, mask)
    same("with other padding the loss is", loss(logits, torch.where(mask, targets, 0), mask), whole)
    same("alone the second is", loss(logits[1:], targets[1:, :1], mask[1:, :1]), whole[1:])
    # No score for word 2, which is no target: it can only take probability away.
    scores = torch.tensor([[1.0, 1.0, 0.0, 1.0, 1.0]], dtype=torch.float64).expand(2, -1)
    right, wrong = loss(5.0 * scores, targets, mask), loss(-5.0 * scores, targets, mask)
    if not bool((right < wrong).all()):
        raise LawBroken(f"right words cost {number(right)} and wrong ones {number(wrong)}, expected less.")
    return f"right words cost {number(right)}, wrong ones {number(wrong)}"


@law("context")
def context_derivative_is_right(loss: ContextLoss) -> str:
    """The derivative is that of the value."""
    logits, targets, mask = _context()
    return derivatives_agree("the loss", lambda a: loss(a, targets, mask), (logits,), second=True)


@law("context")
def context_survives_extremes(loss: ContextLoss) -> str:
    """At logits of some thousands, value and gradient are finite in float32, and the gradient has not vanished."""
    logits, targets, mask = _context()
    return _survives(lambda a: loss(a, targets, mask), logits)


@law("context")
def context_can_be_learned(loss: ContextLoss) -> str:
    """Descending it lowers it by half, from wrong words on."""
    _, targets, mask = _context()
    logits = torch.tensor([[0.0, 0.0, 3.0, 0.0, 0.0]] * 2, dtype=torch.float64, requires_grad=True)
    return _descends(lambda: loss(logits, targets, mask), logits)


def _completion() -> tuple[Tensor, Tensor, Tensor]:
    """Returns logits, samples that end (0) after 2 and 4 tokens, and targets."""
    return _normal(2, 4, 4), torch.tensor([[1, 0, 3, 3], [2, 3, 1, 0]]), torch.tensor([[1, 2, 0], [2, 3, 0]])


@probe("completion")
def _completion_probe(loss: CompletionLoss, setting: Setting) -> dict[str, Tensor]:
    """Returns the loss and its gradient in the logits."""
    logits, samples, targets = _completion()
    logits = setting.tensor(logits).requires_grad_()
    return _valued(loss(logits, samples.to(setting.device), targets.to(setting.device)), logits)


@law("completion")
def completion_stops_at_the_end(loss: CompletionLoss) -> str:
    """What follows a sample's end counts nothing, and sentences do not see each other."""
    logits, samples, targets = _completion()
    whole = loss(logits, samples, targets)
    other = logits.clone()
    other[0, 2:] += 5.0 * _normal(2, 4, seed=1)
    same("with other logits after the end the first is", loss(other, samples, targets)[:1], whole[:1])
    same("alone the second is", loss(logits[1:], samples[1:], targets[1:]), whole[1:])
    if bool((whole < 0.0).any()):
        raise LawBroken(f"the loss is {number(whole)}, expected none below 0.")
    return f"losses {number(whole)}"


@law("completion")
def completion_teaches_the_target(loss: CompletionLoss) -> str:
    """After a prefix of the target its next token is raised and others are not, whatever the sample says next."""
    targets = torch.tensor([[1, 2, 0], [2, 3, 0]])
    samples = torch.tensor([[1, 3, 0], [2, 3, 0]])
    logits = torch.zeros(2, 3, 4, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(loss(logits, samples, targets).sum(), logits)
    for row, place in ((0, 0), (0, 1), (1, 0), (1, 1), (1, 2)):
        wanted = targets[row, place]
        slopes = gradient[row, place]
        if not slopes[wanted] < 0.0 or int((slopes < 0.0).sum()) > 1:
            raise LawBroken(
                f"for the target {targets[row].tolist()} and the sample {samples[row].tolist()} the slopes at place "
                f"{place} are {number(slopes)}, expected one below 0 at token {int(wanted)}, which comes next in the "
                f"target, and none elsewhere."
            )
    return "the target's next token alone is raised"


@law("completion")
def completion_derivative_is_right(loss: CompletionLoss) -> str:
    """The derivative is that of the value."""
    logits, samples, targets = _completion()
    return derivatives_agree("the loss", lambda a: loss(a, samples, targets), (logits,), second=True)


@law("completion")
def completion_survives_extremes(loss: CompletionLoss) -> str:
    """At logits of some thousands, value and gradient are finite in float32, and the gradient has not vanished."""
    logits, samples, targets = _completion()
    return _survives(lambda a: loss(a, samples, targets), logits)


@law("completion")
def completion_can_be_learned(loss: CompletionLoss) -> str:
    """Descending it lowers it by half."""
    logits, samples, targets = _completion()
    logits.requires_grad_()
    return _descends(lambda: loss(logits, samples, targets), logits)


def _embeddings() -> tuple[Tensor, Tensor, Tensor]:
    """Returns the embeddings of two pairs of sentences, of 3 words and 1, and their mask."""
    mask = torch.tensor([[True, True, True], [True, False, False]])
    return _normal(2, 3, 4), _normal(2, 3, 4, seed=1), mask


@probe("embedding")
def _embedding_probe(loss: EmbeddingLoss, setting: Setting) -> dict[str, Tensor]:
    """Returns the loss and its gradient in the first embeddings."""
    first, second, mask = _embeddings()
    first = setting.tensor(first).requires_grad_()
    return _valued(loss(first, setting.tensor(second), mask.to(setting.device)), first)


@law("embedding")
def embeddings_can_be_learned(loss: EmbeddingLoss) -> str:
    """Descending it lowers it by half, and at embeddings of 0 value and gradient are finite."""
    first, second, mask = _embeddings()
    zeros = torch.zeros(2, 3, 4, requires_grad=True)
    value = loss(zeros, second.float(), mask)
    finite("at embeddings of 0 the loss is", value)
    finite("at embeddings of 0 the gradient is", torch.autograd.grad(value.sum(), zeros)[0])
    first.requires_grad_()
    return _descends(lambda: loss(first, second, mask), first)


@law("embedding")
def embeddings_meet(loss: EmbeddingLoss) -> str:
    """Equal sentences cost nothing, others more, padding counts nothing, and sentences do not see each other."""
    first, second, mask = _embeddings()
    value = loss(first, second, mask)
    same("of equal sentences the loss is", loss(first, first, mask), torch.zeros_like(value))
    if not bool((value > 0.0).all()):
        raise LawBroken(f"the loss of different sentences is {number(value)}, expected more than 0.")
    # The same sum over words: a loss of the sums alone does not tell them apart.
    shifted = first + torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64)[:, None]
    if not loss(shifted, first, mask)[0] > 1e-6:
        raise LawBroken("the loss of sentences with other words and an equal sum is 0, expected more: keep their rows.")
    same("with other padding the loss is", loss(torch.where(mask.unsqueeze(-1), first, 9.0), second, mask), value)
    same("alone, without its padding, the second is", loss(first[1:, :1], second[1:, :1], mask[1:, :1]), value[1:])
    derivatives_agree("the loss", lambda a: loss(a, second, mask), (first,), second=True)
    return f"losses {number(value)}"


@law("cost")
def costs_are_zero_for_the_reference(loss: Cost) -> str:
    """The reference itself costs nothing, and other sequences more."""
    reference = ["a", "dog", "runs", "home", "now"]
    worse = [reference, ["a", "dog", "runs", "now"], ["x", "y"], []]
    values = loss(worse, [reference] * 4)
    if values.shape != (4,) or abs(float(values[0])) > 1e-6 or not bool((values[1:] > 1e-3).all()):
        raise LawBroken(f"costs are {number(values)}, expected 0 for the reference and more for the others.")
    same("in another order the costs are", loss(worse[::-1], [reference] * 4), values.flip(0), absolute=1e-6)
    return f"costs {number(values)}"


class _Machine:
    """A small restricted Boltzmann machine: an energy that every sampler can use."""

    def __call__(self, visible: Tensor) -> Tensor:
        return -softplus(2.0 * visible - 1.0).sum(1)

    def sample_hidden(self, visible: Tensor, rng: torch.Generator) -> Tensor:
        return torch.bernoulli((2.0 * visible - 1.0).sigmoid(), generator=rng)

    def sample_visible(self, hidden: Tensor, rng: torch.Generator) -> Tensor:
        return torch.bernoulli((2.0 * hidden).sigmoid(), generator=rng)


@law("sampler")
def chains_are_pure(loss: Sampler) -> str:
    """Chains keep shape and start, carry no graph, and draw from their generator alone."""
    energy, start = _Machine(), torch.ones(50, 3, dtype=torch.float64)
    kept, before = start.clone(), torch.get_rng_state()
    first, second = (loss.run(energy, start, 3, seeded(1)) for _ in range(2))
    finite("the chains are", first)
    same("with the same seed the chains are", first, second)
    same("after the run the start is", start, kept)
    if first.shape != start.shape or loss.fresh(start, seeded(2)).shape != start.shape:
        raise LawBroken(f"chains {tuple(start.shape)} became {tuple(first.shape)}, expected the same shape.")
    if first.requires_grad or not torch.equal(before, torch.get_rng_state()):
        raise LawBroken("the chains carry a graph or moved the global generator, expected neither.")
    return "chains are detached and reproducible"


def _density(loss: Sampler) -> tuple[Energy, Tensor, float, float]:
    """Returns an energy that suits the sampler, draws from its density, and their mean and variance."""
    rng, like = seeded(4), torch.zeros(_CHAINS, 1, dtype=torch.float64)
    try:
        # How far it moves where the energy is flat is the scale of a density that it crosses in some steps.
        moved = loss.step(lambda x: 0.0 * x.sum(1), like, seeded(3))
    except TypeError:
        # It needs hidden units. With those summed out the machine's visible units are coins of bias sigmoid(1).
        bias = 1.0 / (1.0 + math.exp(-1.0))
        return _Machine(), like.bernoulli(bias, generator=rng), bias, bias * (1.0 - bias)
    variance = 8.0 * float(moved.var())
    if not 0.0 < variance < math.inf:
        raise LawBroken(f"where the energy is flat, chains move by a variance of {variance / 8.0:.3g}, expected more.")
    mean = 3.0 * variance**0.5
    draws = mean + variance**0.5 * torch.empty_like(like).normal_(generator=rng)
    return lambda x: 0.5 * (x - mean).square().sum(1) / variance, draws, mean, variance


@law("sampler")
def chains_keep_the_density(loss: Sampler) -> str:
    """Chains that start as draws from a density stay so: their mean and variance are kept."""
    chosen = [name for name in ("noise", "low", "high", "gradient_clip") if getattr(loss, name, None) is not None]
    if chosen:
        raise LawSkipped(f"{', '.join(chosen)} is set: it draws from another density than that of the energy")
    energy, start, mean, variance = _density(loss)
    chains = loss.run(energy, start, _TRANSITIONS, seeded(5))
    shift, ratio = (float(chains.mean()) - mean) / variance**0.5, float(chains.var()) / variance
    if not (abs(shift) < _TOLERANCE and abs(ratio - 1.0) < _TOLERANCE):
        raise LawBroken(
            f"after {_TRANSITIONS} transitions the mean is {shift:.3g} standard deviations off and the variance "
            f"{ratio:.3g} times the density's, expected 0 and 1: a sign, a half or a root of the step."
        )
    return f"mean {shift:.2g} standard deviations off, variance {ratio:.3g} times the density's"


@probe("likelihood_loss")
def _likelihood_loss_probe(loss: LikelihoodLoss, setting: Setting) -> dict[str, Tensor]:
    """Returns the loss and its gradient in the log-density."""
    log_prob = setting.normal(6).requires_grad_()
    return _valued(loss(log_prob), log_prob)


@law("likelihood_loss")
def likelier_data_cost_less(loss: LikelihoodLoss) -> str:
    """The loss falls as the log-density rises, sample by sample, and the derivative is that of the value."""
    log_prob = torch.linspace(-50.0, 5.0, 12, dtype=torch.float64)
    value = loss(log_prob)
    if value.shape != log_prob.shape or not bool((value.diff() < 0.0).all()):
        raise LawBroken(f"the loss is {number(value)} for rising log-densities, expected one falling value a sample.")
    if not loss.couples_batch:
        same("alone the last sample has", loss(log_prob[-1:]), value[-1:])
    return derivatives_agree("the loss", loss, (log_prob,), second=True)


@probe("quantisation")
def _quantisation_probe(loss: VectorQuantised, setting: Setting) -> dict[str, Tensor]:
    """Returns codes, surrogate and the gradient in the latents."""
    latents, codebook = setting.normal(4, 3, 2).requires_grad_(), setting.normal(5, 2, seed=1)
    found = loss.quantise(latents, codebook)
    codes = found.codes.to(torch.promote_types(setting.dtype, torch.float32))
    log_likelihood = -codes.square().sum((1, 2))
    surrogate = loss(latents, found, log_likelihood, codes=5).surrogate
    return {"the codes": found.codes.detach(), **_valued(surrogate, latents)}


@law("quantisation")
def codes_are_nearest_and_pass_the_gradient(loss: VectorQuantised) -> str:
    """Codes are the nearest ones, and the decoder's gradient reaches the latents unchanged."""
    latents, codebook = _normal(4, 3, 2).requires_grad_(), _normal(5, 2, seed=1)
    found = loss.quantise(latents, codebook)
    nearest = codebook[torch.cdist(latents.detach().flatten(0, 1), codebook).argmin(1)].reshape(4, 3, 2)
    same("the codes are", found.codes.detach(), nearest)
    weights = _normal(4, 3, 2, seed=2)
    (gradient,) = torch.autograd.grad((found.codes * weights).sum(), latents)
    same("the gradient on the latents is", gradient, weights)
    terms = loss(latents, found, torch.zeros(4, dtype=torch.float64), codes=5)
    finite("the surrogate is", terms.surrogate)
    return f"commitment {number(terms.parts['commitment'])}"
