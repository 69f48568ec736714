"""Losses on the tokens of a sequence, given the right ones before (teacher forcing)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor
from torch.nn.functional import softmax

from genloss.losses._checks import (
    at_least_float32,
    boolean,
    floating,
    in_vocabulary,
    logits_not_probabilities,
    mask_counts,
    not_above_zero,
    not_empty,
    rows_not_probabilities,
    whole_numbers,
)
from genloss.losses._fields import at_least, finite_number
from genloss.losses.card import Card, Loss, Reference

__all__ = [
    "EditInvariant",
    "TokenCrossEntropy",
    "TokenLoss",
    "mask_after_end",
    "perplexity",
    "sequence_log_prob",
]


def check_tokens(logits: Tensor, tokens: Tensor, mask: Tensor) -> None:
    """Raises unless logits `(..., length, vocabulary)`, tokens and mask `(..., length)` fit each other."""
    floating(logits=logits)
    not_empty(logits=logits)
    whole_numbers(tokens=tokens)
    boolean(mask=mask)
    if logits.ndim < 3 or tokens.shape != logits.shape[:-1] or mask.shape != tokens.shape:
        raise ValueError(
            f"logits have shape {tuple(logits.shape)}, tokens {tuple(tokens.shape)} and mask {tuple(mask.shape)}; "
            f"expected (batch, length, vocabulary), (batch, length) and (batch, length)."
        )
    mask_counts(mask=mask)
    in_vocabulary(logits.shape[-1], tokens=tokens)
    logits_not_probabilities(logits=logits)
    rows_not_probabilities(mask, logits=logits)


def check_sentences(logits: Tensor, tokens: Tensor, mask: Tensor) -> None:
    """Raises as `check_tokens` does, and unless the logits are `(batch, length, vocabulary)`."""
    check_tokens(logits, tokens, mask)
    if logits.ndim != 3:
        raise ValueError(
            f"logits have shape {tuple(logits.shape)}, expected (batch, length, vocabulary): one sequence for each "
            f"value of the loss. Flatten the axes before the length."
        )


def mask_after_end(tokens: Tensor, end: int) -> Tensor:
    """Returns which tokens count: those up to and including the first `end`.

    Args:
        tokens: `(..., length)`.
        end: the token that ends a sequence.

    Returns:
        `(..., length)`, bool.

    Raises:
        TypeError: the tokens are not int64.

    Example:
        >>> mask_after_end(torch.tensor([[4, 2, 4, 2]]), end=2)
        tensor([[ True,  True, False, False]])
    """
    whole_numbers(tokens=tokens)
    ended = (tokens == end).long()
    return (ended.cumsum(-1) - ended) == 0


def blanked(values: Tensor, mask: Tensor) -> Tensor:
    """Returns `(..., features)` with zeros where the mask is false: whatever stands there, NaN too, has no gradient."""
    return values.masked_fill(~mask.unsqueeze(-1), 0.0)


def _token_log_prob(logits: Tensor, tokens: Tensor) -> Tensor:
    log_probs = at_least_float32(logits).log_softmax(-1)
    return log_probs.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)


def sequence_log_prob(logits: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
    """Returns the log-probability of sequences; what `mask` leaves out, such as padding after the end, counts nothing.

    Args:
        logits: `(..., length, vocabulary)`, floating, of each token given those before.
        tokens: `(..., length)`, int64.
        mask: `(..., length)`, bool, true where a token counts; of samples, `mask_after_end`.

    Returns:
        `(...)`, nats.

    Raises:
        TypeError: a dtype is wrong.
        ValueError: shapes do not fit, logits are seen to be probabilities, or (checked on the CPU only) nothing counts
            or a token is not in the vocabulary.

    Example:
        >>> mask = torch.tensor([[True, True, False]])
        >>> sequence_log_prob(torch.zeros(1, 3, 4), torch.tensor([[1, 2, 0]]), mask)
        tensor([-2.7726])
    """
    check_tokens(logits, tokens, mask)
    # Where, and not a product: an impossible token under the mask would make 0 times infinity.
    return torch.where(mask, _token_log_prob(blanked(logits, mask), tokens), 0.0).sum(-1)


def perplexity(log_prob: Tensor, mask: Tensor) -> Tensor:
    r"""Returns $e^{-\sum\log p/n}$ over all $n$ tokens that count: how many the model hesitates between, a scalar.

    Args:
        log_prob: log-probabilities of the sequences, `(batch,)`, from `sequence_log_prob` and never from a smoothed
            loss.
        mask: `(batch, length)`, bool, the one that it was made with.

    Raises:
        TypeError: a dtype is wrong.
        ValueError: shapes do not fit, no token counts, or (checked on the CPU only) a log-probability is above 0.

    Example:
        >>> perplexity(torch.tensor([-2.7726]), torch.tensor([[True, True, False]]))
        tensor(4.0000)
    """
    floating(log_prob=log_prob)
    not_above_zero(log_prob=log_prob)
    boolean(mask=mask)
    if mask.ndim != 2 or log_prob.shape != mask.shape[:1]:
        raise ValueError(
            f"log_prob has shape {tuple(log_prob.shape)} and mask {tuple(mask.shape)}, expected (batch,) and "
            f"(batch, length)."
        )
    tokens = mask.sum()
    if int(tokens) == 0:
        raise ValueError("no token counts: the mask is false everywhere, expected at least one true.")
    return (-at_least_float32(log_prob).sum() / tokens).exp()


class TokenLoss(Loss, ABC):
    """A loss on the tokens of target sequences. A subclass writes `_loss`."""

    family: ClassVar[str] = "token"

    @final
    def __call__(self, logits: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
        """Returns what the model minimises, per sequence.

        Args:
            logits: `(batch, length, vocabulary)`, floating, of each target token given those before.
            targets: `(batch, length)`, int64.
            mask: `(batch, length)`, bool, true where a token counts; padding is false.

        Returns:
            `(batch,)`, nats, float32 or better, summed over tokens unless the class says otherwise. For a mean over
            tokens divide the sum over the batch by `mask.sum()`.

        Raises:
            TypeError: a dtype is wrong.
            ValueError: shapes do not fit, logits are seen to be probabilities, or (checked on the CPU only) the mask is
                false everywhere or a token, padding too, is not in the vocabulary.
        """
        check_sentences(logits, targets, mask)
        return self._loss(blanked(at_least_float32(logits), mask), targets, mask)

    @abstractmethod
    def _loss(self, logits: Tensor, targets: Tensor, mask: Tensor) -> Tensor: ...


@dataclass(frozen=True, kw_only=True)
class TokenCrossEntropy(TokenLoss):
    r"""The cross-entropy of each target token, with label smoothing.

    $$-\sum_t\Big[(1-\epsilon)\log p(y_t)+\frac\epsilon V\sum_v\log p(v)\Big]$$

    The convention of PyTorch: the target has probability $1-\epsilon+\epsilon/V$; others spread $\epsilon$ over fewer
    tokens. Use it first. It fails by exposure bias: the model never sees its own mistakes. With smoothing its optimum
    is not 0, and its exponential is no perplexity: report that from `sequence_log_prob`.

    Args:
        label_smoothing: $\epsilon$ in [0, 1).

    Raises:
        ValueError: a field is out of its range.

    Example:
        >>> targets, mask = torch.tensor([[1, 0]]), torch.tensor([[True, False]])
        >>> TokenCrossEntropy()(torch.zeros(1, 2, 4), targets, mask)
        tensor([1.3863])

    Source: Sutskever, Vinyals & Le 2014, equation 2; Szegedy et al. 2016, section 7 (smoothing).
    """

    card: ClassVar[Card] = Card(
        name="token_cross_entropy",
        aliases=("cross_entropy", "teacher_forcing"),
        formula={"model": r"-\sum_t[(1-\epsilon)\log p(y_t)+\frac\epsilon V\sum_v\log p(v)]"},
        minimised_by="The model minimises it alone.",
        when="First, for every sequence model.",
        fails="Exposure bias: the model never sees its own mistakes. With smoothing its exponential is no perplexity.",
        references=(
            Reference(
                authors="Sutskever, Vinyals, Le",
                year=2014,
                title="Sequence to Sequence Learning with Neural Networks",
                venue="NeurIPS",
                url="https://arxiv.org/abs/1409.3215",
                equation="(2)",
            ),
            Reference(
                authors="Szegedy, Vanhoucke, Ioffe, Shlens, Wojna",
                year=2016,
                title="Rethinking the Inception Architecture for Computer Vision",
                venue="CVPR",
                url="https://arxiv.org/abs/1512.00567",
                equation="section 7",
            ),
        ),
    )

    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        finite_number(label_smoothing=self.label_smoothing)
        if not 0.0 <= self.label_smoothing < 1.0:
            raise ValueError(f"label_smoothing is {self.label_smoothing}, expected a number in [0, 1).")

    def _loss(self, logits: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
        log_probs = logits.log_softmax(-1)
        loss = -log_probs.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
        if self.label_smoothing > 0.0:
            # No lerp, which takes a difference: both may be infinite.
            loss = (1.0 - self.label_smoothing) * loss - self.label_smoothing * log_probs.mean(-1)
        return torch.where(mask, loss, 0.0).sum(-1)


@dataclass(frozen=True, kw_only=True)
class EditInvariant(TokenLoss):
    r"""Matches the target's n-grams wherever they fit best in the output: the edit-invariant sequence loss.

    $$-\frac1{|\mathcal N|}\sum_n\frac1{|Y_n|}\sum_{i}\sum_{j}\mathrm{softmax}_j(g_{ij})\,g_{ij},\qquad
    g_{ij}=\frac1n\sum_{k<n}\log p_{j+k}(y_{i+k})$$

    $i$ runs over the target's n-grams and $j$ over the output's positions; a shifted target costs nearly nothing. The
    paper adds Gumbel noise to the softmax; this is without, hence deterministic. Means, not sums: nats for each token
    of an n-gram. Use it for noisy targets (shuffled, repeated, missing words), after or beside the cross-entropy. It
    fails alone from a random start, where no n-gram fits anywhere. A sequence shorter than an n-gram leaves that size
    out, and one shorter than all has loss 0.

    Args:
        sizes: the lengths $n$ of n-grams, each at least 1.

    Raises:
        ValueError: a field is out of its range.

    Example:
        >>> targets, mask = torch.tensor([[0, 1, 2]]), torch.ones(1, 3, dtype=torch.bool)
        >>> shifted = 50.0 * torch.eye(3)[torch.tensor([[2, 0, 1]])]
        >>> EditInvariant(sizes=(2,))(shifted, targets, mask) < TokenCrossEntropy()(shifted, targets, mask)
        tensor([True])

    Source: Liu et al. 2022, section 3.
    """

    card: ClassVar[Card] = Card(
        name="edit_invariant",
        aliases=("eisl",),
        formula={
            "model": r"-\mathrm{mean}_n\,\mathrm{mean}_i\sum_j\mathrm{softmax}_j(g_{ij})g_{ij},\ "
            r"g_{ij}=\frac1n\sum_{k<n}\log p_{j+k}(y_{i+k})"
        },
        minimised_by="The model minimises it, alone or beside the cross-entropy.",
        when="For noisy targets: shuffled, repeated or missing words.",
        fails="From a random start alone, where no n-gram fits anywhere.",
        references=(
            Reference(
                authors="Liu, Yang, Tao, Liang, Bao, Li, He, Cui, Hu",
                year=2022,
                title="Don't Take It Literally: An Edit-Invariant Sequence Loss for Text Generation",
                venue="NAACL",
                url="https://arxiv.org/abs/2106.15078",
                equation="section 3",
            ),
        ),
    )

    sizes: tuple[int, ...] = (1, 2, 3, 4)

    def __post_init__(self) -> None:
        if not isinstance(self.sizes, tuple | list) or not self.sizes:
            raise ValueError(f"sizes is {self.sizes!r}, expected at least one n-gram length, e.g. (2,).")
        for size in self.sizes:
            at_least(1, sizes=size)

    def _loss(self, logits: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
        length = targets.shape[1]
        # (batch, output position, target position): log-probability of that target token there.
        pairs = logits.log_softmax(-1).gather(-1, targets.unsqueeze(1).expand(-1, length, -1))
        # A floor whose sums are finite, since a weight of 0 times minus infinity would be no number.
        lowest = torch.finfo(pairs.dtype).min / (2 * max(self.sizes))
        pairs = torch.where(mask.unsqueeze(2) & mask.unsqueeze(1), pairs.clamp(min=lowest), 0.0)
        # 0 with a graph, for sentences that are shorter than every size.
        total, counted = 0.0 * pairs.sum((1, 2)), logits.new_zeros(len(logits))
        for size in self.sizes:
            if size > length:
                continue
            kept = length - size + 1
            fit = torch.stack([pairs[:, k : k + kept, k : k + kept] for k in range(size)]).mean(0)
            whole = mask.unfold(1, size, 1).all(-1)
            weights = softmax(fit.masked_fill(~whole.unsqueeze(2), torch.finfo(fit.dtype).min), dim=1)
            best = torch.where(whole, (weights * fit).sum(1), 0.0)
            grams = whole.sum(1)
            total = total - best.sum(1) / grams.clamp(min=1)
            counted = counted + (grams > 0)
        return total / counted.clamp(min=1.0)
