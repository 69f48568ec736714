"""The laws of the smaller families: contexts, completions, embeddings, costs, samplers, log-densities, codebooks."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from genloss.losses._law_tools import derivatives_agree, finite, number, same, seeded
from genloss.losses.completion import CompletionLoss
from genloss.losses.embedding_losses import EmbeddingLoss
from genloss.losses.laws import LawBroken, law
from genloss.losses.maximum_likelihood import LikelihoodLoss
from genloss.losses.samplers import Sampler
from genloss.losses.sequence import ContextLoss
from genloss.losses.sequence_costs import Cost
from genloss.losses.vector_quantised import VectorQuantised

__all__: list[str] = []


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


@law("context")
def context_counts_words_under_the_mask(loss: ContextLoss) -> str:
    """Padding counts nothing, sentences do not see each other, and the right words cost less than others."""
    logits, targets = _normal(2, 5), torch.tensor([[0, 1, 1], [3, 4, 4]])
    mask = torch.tensor([[True, True, True], [True, False, False]])
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
    targets, mask = torch.tensor([[0, 1], [3, 4]]), torch.tensor([[True, True], [True, False]])
    return derivatives_agree("the loss", lambda a: loss(a, targets, mask), (_normal(2, 5),), second=True)


def _completion() -> tuple[Tensor, Tensor, Tensor]:
    """Returns logits, samples that end (0) after 2 and 4 tokens, and targets."""
    return _normal(2, 4, 4), torch.tensor([[1, 0, 3, 3], [2, 3, 1, 0]]), torch.tensor([[1, 2, 0], [2, 3, 0]])


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
def completion_derivative_is_right(loss: CompletionLoss) -> str:
    """The derivative is that of the value."""
    logits, samples, targets = _completion()
    return derivatives_agree("the loss", lambda a: loss(a, samples, targets), (logits,), second=True)


@law("embedding")
def embeddings_meet(loss: EmbeddingLoss) -> str:
    """Equal sentences cost nothing, others more, and padding counts nothing."""
    first, second = _normal(2, 3, 4), _normal(2, 3, 4, seed=1)
    mask = torch.tensor([[True, True, True], [True, False, False]])
    value = loss(first, second, mask)
    same("of equal sentences the loss is", loss(first, first, mask), torch.zeros_like(value))
    if not bool((value > 0.0).all()):
        raise LawBroken(f"the loss of different sentences is {number(value)}, expected more than 0.")
    same("with other padding the loss is", loss(torch.where(mask.unsqueeze(-1), first, 9.0), second, mask), value)
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
