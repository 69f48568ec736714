"""The laws of the losses on words: contexts, completions, embeddings, costs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from genloss.losses._law_tools import (
    Setting,
    derivatives_agree,
    descend,
    each_alone,
    finite,
    normal,
    number,
    probe,
    same,
    valued,
)
from genloss.losses.bag_of_words import ContextLoss
from genloss.losses.completion import CompletionLoss
from genloss.losses.embedding_losses import EmbeddingLoss
from genloss.losses.laws import LawBroken, law
from genloss.losses.sequence import mask_after_end
from genloss.losses.sequence_costs import Cost

__all__: list[str] = []


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
    return normal(2, 5), targets, torch.tensor([[True, True, True], [True, False, False]])


def _bags(targets: Tensor, mask: Tensor, vocabulary: int) -> Tensor:
    """Returns which words of the vocabulary each target holds, as ones."""
    held = torch.zeros(len(targets), vocabulary, dtype=torch.float64)
    return held.scatter_add(1, targets, mask.double()).clamp(max=1.0)


@probe("context")
def _context_probe(loss: ContextLoss, setting: Setting) -> dict[str, Tensor]:
    """Returns the loss and its gradient in the logits."""
    logits, targets, mask = _context()
    logits = setting.tensor(logits).requires_grad_()
    return valued(loss(logits, targets.to(setting.device), mask.to(setting.device)), logits)


@law("context")
def context_counts_words_under_the_mask(loss: ContextLoss) -> str:
    """Padding counts nothing, sentences do not see each other, and the right words cost less than others."""
    logits, targets, mask = _context()
    whole = loss(logits, targets, mask)
    same("with other padding the loss is", loss(logits, torch.where(mask, targets, 0), mask), whole)
    each_alone(whole, (mask,), lambda cut: loss(logits[cut[0]], targets[cut], mask[cut]))
    scores = 5.0 * _bags(targets, mask, logits.shape[1])
    right, wrong = loss(scores, targets, mask), loss(-scores, targets, mask)
    if not bool((right < wrong).all()):
        raise LawBroken(f"right words cost {number(right)} and wrong ones {number(wrong)}, expected less.")
    return f"right words cost {number(right)}, wrong ones {number(wrong)}"


@law("context")
def context_raises_every_word_of_the_target(loss: ContextLoss) -> str:
    """At equal logits every word of the target is raised and every other one lowered."""
    logits, targets, mask = _context()
    logits = torch.zeros_like(logits, requires_grad=True)
    (slopes,) = torch.autograd.grad(loss(logits, targets, mask).sum(), logits)
    right = _bags(targets, mask, logits.shape[1]) > 0.0
    if not bool(torch.where(right, slopes < 0.0, slopes > 0.0).all()):
        raise LawBroken(
            f"at words of the target the slopes are {number(slopes[right])} and at others {number(slopes[~right])}, "
            f"expected all less than 0 and all more than 0."
        )
    return f"slopes of {number(slopes[right])} at words of the target, {number(slopes[~right])} at others"


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


def _end(loss: CompletionLoss) -> int:
    return int(getattr(loss, "end", 0))


def _vocabulary(loss: CompletionLoss) -> int:
    return max(4, 1 + _end(loss))


def _tokens(loss: CompletionLoss, rows: list[list[int]]) -> Tensor:
    """Returns sentences, written with 0 for their end, in the tokens of the loss."""
    return (torch.tensor(rows) + _end(loss)) % _vocabulary(loss)


def _completion(loss: CompletionLoss) -> tuple[Tensor, Tensor, Tensor]:
    """Returns logits, samples that end after 2 and 4 tokens, and targets that end after 3 and 4."""
    samples, targets = [[1, 0, 3, 3], [2, 3, 1, 0]], [[1, 2, 0, 3], [2, 3, 3, 0]]
    return normal(2, 4, _vocabulary(loss)), _tokens(loss, samples), _tokens(loss, targets)


@probe("completion")
def _completion_probe(loss: CompletionLoss, setting: Setting) -> dict[str, Tensor]:
    """Returns the loss and its gradient in the logits."""
    logits, samples, targets = _completion(loss)
    logits = setting.tensor(logits).requires_grad_()
    return valued(loss(logits, samples.to(setting.device), targets.to(setting.device)), logits)


@law("completion")
def completion_stops_at_the_end(loss: CompletionLoss) -> str:
    """What follows a sample's end counts nothing, and sentences do not see each other."""
    logits, samples, targets = _completion(loss)
    whole = loss(logits, samples, targets)
    other = logits.clone()
    other[0, 2:] += 5.0 * normal(2, logits.shape[2], seed=1)
    same("with other logits after the end the first is", loss(other, samples, targets)[:1], whole[:1])
    masks = (mask_after_end(samples, _end(loss)), mask_after_end(targets, _end(loss)))
    each_alone(whole, masks, lambda said, asked: loss(logits[said], samples[said], targets[asked]))
    if bool((whole < 0.0).any()):
        raise LawBroken(f"the loss is {number(whole)}, expected none below 0.")
    return f"losses {number(whole)}"


def _raises(
    loss: CompletionLoss, targets: list[list[int]], samples: list[list[int]], wanted: list[tuple[int, int, int]]
) -> str:
    """Returns a message; raises LawBroken unless at each wanted (row, place, token) that token alone is raised."""
    logits = torch.zeros(*torch.tensor(samples).shape, _vocabulary(loss), dtype=torch.float64, requires_grad=True)
    value = loss(logits, _tokens(loss, samples), _tokens(loss, targets)).sum()
    (gradient,) = torch.autograd.grad(value, logits)
    for row, place, token in wanted:
        # In the law's tokens, of which 0 is the end.
        slopes = gradient[row, place].roll(-_end(loss))
        if not slopes[token] < 0.0 or int((slopes < 0.0).sum()) > 1:
            raise LawBroken(
                f"for the target {targets[row]} and the sample {samples[row]}, which 0 ends, the slopes at place "
                f"{place} are {number(slopes)}, expected one below 0 at token {token}, which completes the target "
                f"best after what the sample said, and none elsewhere."
            )
    return "the next token of the best completion alone is raised"


@law("completion")
def completion_teaches_the_target(loss: CompletionLoss) -> str:
    """After a prefix of the target its next token is raised and others are not, whatever the sample says next."""
    wanted = [(0, 0, 1), (0, 1, 2), (1, 0, 2), (1, 1, 3), (1, 2, 0)]
    return _raises(loss, [[1, 2, 0], [2, 3, 0]], [[1, 3, 0], [2, 3, 0]], wanted)


@law("completion")
def completion_follows_the_sample(loss: CompletionLoss) -> str:
    """After a word too many or too few in the sample, what completes it is raised, not what stands at that place."""
    wanted = [(0, 2, 2), (0, 3, 0), (1, 2, 0)]
    return _raises(loss, [[1, 2, 0, 0], [1, 2, 3, 0]], [[3, 1, 2, 0], [2, 3, 0, 0]], wanted)


@law("completion")
def completion_derivative_is_right(loss: CompletionLoss) -> str:
    """The derivative is that of the value."""
    logits, samples, targets = _completion(loss)
    return derivatives_agree("the loss", lambda a: loss(a, samples, targets), (logits,), second=True)


@law("completion")
def completion_survives_extremes(loss: CompletionLoss) -> str:
    """At logits of some thousands, value and gradient are finite in float32, and the gradient has not vanished."""
    logits, samples, targets = _completion(loss)
    return _survives(lambda a: loss(a, samples, targets), logits)


@law("completion")
def completion_can_be_learned(loss: CompletionLoss) -> str:
    """Descending it lowers it by half."""
    logits, samples, targets = _completion(loss)
    logits.requires_grad_()
    return _descends(lambda: loss(logits, samples, targets), logits)


def _embeddings() -> tuple[Tensor, Tensor, Tensor]:
    """Returns the embeddings of two pairs of sentences, of 3 words and 1, and their mask."""
    mask = torch.tensor([[True, True, True], [True, False, False]])
    return normal(2, 3, 4), normal(2, 3, 4, seed=1), mask


@probe("embedding")
def _embedding_probe(loss: EmbeddingLoss, setting: Setting) -> dict[str, Tensor]:
    """Returns the loss and its gradient in the first embeddings."""
    first, second, mask = _embeddings()
    first = setting.tensor(first).requires_grad_()
    return valued(loss(first, setting.tensor(second), mask.to(setting.device)), first)


@law("embedding")
def embeddings_can_be_learned(loss: EmbeddingLoss) -> str:
    """Descending it lowers it by half; at embeddings of 0 and at equal sentences value and gradient are finite."""
    first, second, mask = _embeddings()
    for where, start in (("embeddings of 0", torch.zeros(2, 3, 4)), ("equal sentences", second.float())):
        leaf = start.clone().requires_grad_()
        value = loss(leaf, second.float(), mask)
        finite(f"at {where} the loss is", value)
        finite(f"at {where} the gradient is", torch.autograd.grad(value.sum(), leaf)[0])
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
    each_alone(value, (mask,), lambda cut: loss(first[cut], second[cut], mask[cut]))
    derivatives_agree("the loss", lambda a: loss(a, second, mask), (first,), second=True)
    return f"losses {number(value)}"


@law("embedding")
def every_word_is_compared(loss: EmbeddingLoss) -> str:
    """Where one word alone differs its sentence costs something, whichever word it is."""
    first, _, mask = _embeddings()
    for row, place in mask.nonzero().tolist():
        other = first.clone()
        other[row, place] += 1.0
        value = loss(other, first, mask)[row]
        if not value > 1e-6:
            raise LawBroken(
                f"with word {place} of {int(mask[row].sum())} moved by 1 the loss is {number(value)}, expected more "
                f"than 0: every word counts."
            )
    return "every word counts"


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


@law("cost")
def every_word_costs(loss: Cost) -> str:
    """In a sequence of the reference's length any wrong word costs something, and wrong words alone no less."""
    reference = ["a", "dog", "runs", "home", "now"]
    worse = [[*reference[:place], "x", *reference[place + 1 :]] for place in range(5)]
    values = loss([*worse, ["x"] * 5], [reference] * 6)
    if not bool((values[:5] > 1e-3).all() and (values[:5] <= values[5] + 1e-6).all()):
        raise LawBroken(
            f"with its first to last word wrong a sequence costs {', '.join(map(number, values[:5]))}, and with all "
            f"wrong {number(values[5])}, expected more than 0 and no less: every word counts."
        )
    return f"costs {', '.join(map(number, values))}"
