"""Penalties on attention: where a decoder should look over the whole sentence."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from genloss.losses._checks import at_least_float32, boolean, floating, mask_counts, not_empty
from genloss.losses._fields import positive
from genloss.losses.card import Card, Loss, Reference

__all__ = ["AttentionEntropy", "AttentionPenalty", "Coverage", "DoublyStochastic", "GuidedAttention"]


_ROW_SUM = 1e-2  # what half precision leaves of a sum of probabilities


class AttentionPenalty(Loss, ABC):
    """A penalty on attention weights. A subclass writes `_penalty`, which gets padding as zeros."""

    family: ClassVar[str] = "attention"

    @final
    def __call__(self, attention: Tensor, source_mask: Tensor, target_mask: Tensor) -> Tensor:
        """Returns the penalty, per sentence.

        Args:
            attention: `(batch, target, source)`, floating; each row of a real target token sums to 1 over the source.
            source_mask: `(batch, source)`, bool, true where a token counts.
            target_mask: `(batch, target)`, bool, likewise.

        Returns:
            `(batch,)`, float32 or better.

        Raises:
            TypeError: a dtype is wrong.
            ValueError: shapes do not fit, or (checked on the CPU only) a mask is false everywhere, or a row of the
                attention is negative or sums to more than 1.
        """
        floating(attention=attention)
        not_empty(attention=attention)
        boolean(source_mask=source_mask, target_mask=target_mask)
        shapes = (attention.shape[:1] + attention.shape[2:], attention.shape[:2])
        if attention.ndim != 3 or (source_mask.shape, target_mask.shape) != shapes:
            raise ValueError(
                f"attention has shape {tuple(attention.shape)}, source_mask {tuple(source_mask.shape)} and target_mask "
                f"{tuple(target_mask.shape)}; expected (batch, target, source), (batch, source) and (batch, target)."
            )
        mask_counts(source_mask=source_mask, target_mask=target_mask)
        both = target_mask.unsqueeze(2) & source_mask.unsqueeze(1)
        weights = torch.where(both, at_least_float32(attention), 0.0)
        if weights.is_cpu:
            _check_rows(weights, target_mask)
        return self._penalty(weights, source_mask, target_mask)

    @abstractmethod
    def _penalty(self, attention: Tensor, source_mask: Tensor, target_mask: Tensor) -> Tensor: ...


def _check_rows(weights: Tensor, real: Tensor) -> None:
    """Raises ValueError unless the rows of real target tokens are parts of probabilities; NaN passes, as everywhere."""
    rows = weights.detach()[real]
    wrong = (rows < 0.0).any(-1) | (rows.sum(-1) > 1.0 + _ROW_SUM)
    if bool(wrong.any()):
        row = rows[wrong][0]
        raise ValueError(
            f"attention has a row with lowest weight {row.min():.4g} and sum {row.sum():.4g} over the real source "
            f"tokens, expected weights of at least 0 that sum to 1; pass the softmax over the source, masked, before "
            f"dropout."
        )


@dataclass(frozen=True, kw_only=True)
class Coverage(AttentionPenalty):
    r"""Charges looking again at what was looked at before.

    $$\sum_t\sum_i\min(a_{ti},c_{ti}),\qquad c_t=\sum_{t'<t}a_{t'}$$

    Use it against repeated phrases, in summaries above all. It fails on targets that must repeat. 0 where no two target
    tokens share a source token. Summed over target tokens, as the token losses are.

    Example:
        >>> mask = torch.ones(1, 2, dtype=torch.bool)
        >>> Coverage()(torch.eye(2)[None], mask, mask), Coverage()(torch.tensor([[[1.0, 0.0], [1.0, 0.0]]]), mask, mask)
        (tensor([0.]), tensor([1.]))

    Source: See, Liu & Manning 2017, equations 10 and 12.
    """

    card: ClassVar[Card] = Card(
        name="coverage",
        formula={"model": r"\sum_t\sum_i\min(a_{ti},c_{ti}),\ c_t=\sum_{t'<t}a_{t'}"},
        minimised_by="The model minimises it beside its token loss.",
        when="Against repeated phrases, in summaries above all.",
        fails="On targets that must repeat.",
        references=(
            Reference(
                authors="See, Liu, Manning",
                year=2017,
                title="Get To The Point: Summarization with Pointer-Generator Networks",
                venue="ACL",
                url="https://arxiv.org/abs/1704.04368",
                equation="(10), (12)",
            ),
        ),
    )

    def _penalty(self, attention: Tensor, source_mask: Tensor, target_mask: Tensor) -> Tensor:
        before = attention.cumsum(1) - attention
        return torch.minimum(attention, before).sum((1, 2))


@dataclass(frozen=True, kw_only=True)
class DoublyStochastic(AttentionPenalty):
    r"""Asks that every source token be looked at once in all.

    $$\sum_i\Big(1-\sum_ta_{ti}\Big)^2$$

    Use it where every part of the source should be used. It fails where lengths differ much: the sums over the source
    add up to the target's length, so 0 needs equal lengths.

    Example:
        >>> mask = torch.ones(1, 2, dtype=torch.bool)
        >>> DoublyStochastic()(torch.tensor([[[1.0, 0.0], [1.0, 0.0]]]), mask, mask)
        tensor([2.])

    Source: Xu et al. 2015, equation 14.
    """

    card: ClassVar[Card] = Card(
        name="doubly_stochastic",
        formula={"model": r"\sum_i(1-\sum_ta_{ti})^2"},
        minimised_by="The model minimises it beside its token loss.",
        when="Where every part of the source should be used, as in captions.",
        fails="Where source and target differ much in length.",
        references=(
            Reference(
                authors="Xu, Ba, Kiros, Cho, Courville, Salakhutdinov, Zemel, Bengio",
                year=2015,
                title="Show, Attend and Tell: Neural Image Caption Generation with Visual Attention",
                venue="ICML",
                url="https://arxiv.org/abs/1502.03044",
                equation="(14)",
            ),
        ),
    )

    def _penalty(self, attention: Tensor, source_mask: Tensor, target_mask: Tensor) -> Tensor:
        return torch.where(source_mask, (1.0 - attention.sum(1)).square(), 0.0).sum(1)


@dataclass(frozen=True, kw_only=True)
class GuidedAttention(AttentionPenalty):
    r"""Charges attention far from the diagonal.

    $$\frac1{NT}\sum_{n,t}a_{tn}\Big(1-e^{-(n/N-t/T)^2/(2g^2)}\Big)$$

    Use it where source and target run in parallel, as in speech, to find the alignment early. It fails where order
    changes, as in translation.

    Args:
        width: $g$, as a share of the length, positive.

    Raises:
        ValueError: a field is out of its range.

    Example:
        >>> mask = torch.ones(1, 2, dtype=torch.bool)
        >>> GuidedAttention()(torch.eye(2)[None], mask, mask)
        tensor([0.])

    Source: Tachibana, Uenoyama & Aihara 2018, section 4.
    """

    card: ClassVar[Card] = Card(
        name="guided_attention",
        formula={"model": r"\frac1{NT}\sum_{n,t}a_{tn}(1-e^{-(n/N-t/T)^2/(2g^2)})"},
        minimised_by="The model minimises it beside its token loss.",
        when="Where source and target run in parallel, as in speech.",
        fails="Where the order changes, as in translation.",
        references=(
            Reference(
                authors="Tachibana, Uenoyama, Aihara",
                year=2018,
                title="Efficiently Trainable Text-to-Speech System Based on Deep Convolutional Networks with Guided "
                "Attention",
                venue="ICASSP",
                url="https://arxiv.org/abs/1710.08969",
                equation="section 4",
            ),
        ),
    )

    width: float = 0.2

    def __post_init__(self) -> None:
        positive(width=self.width)

    def _penalty(self, attention: Tensor, source_mask: Tensor, target_mask: Tensor) -> Tensor:
        at_source, at_target = (_relative_positions(mask, attention.dtype) for mask in (source_mask, target_mask))
        offset = at_source.unsqueeze(1) - at_target.unsqueeze(2)
        charge = -torch.expm1(-0.5 * (offset / self.width).square())
        pairs = source_mask.sum(1) * target_mask.sum(1)
        return (attention * charge).sum((1, 2)) / pairs.clamp(min=1)


def _relative_positions(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Returns each real position as a share of its sentence's length, wherever the padding stands."""
    positions = mask.cumsum(1).to(dtype) - 1.0
    return positions / mask.sum(1, keepdim=True).clamp(min=1)


@dataclass(frozen=True, kw_only=True)
class AttentionEntropy(AttentionPenalty):
    r"""The entropy of each target token's attention: small where it looks at one source token.

    $$-\sum_t\sum_ia_{ti}\log a_{ti}$$

    Use it for sharp alignments. It fails early in training, when it fixes a wrong alignment: raise its weight slowly.

    Example:
        >>> mask = torch.ones(1, 2, dtype=torch.bool)
        >>> AttentionEntropy()(torch.full((1, 2, 2), 0.5), mask, mask)
        tensor([1.3863])

    Source: Zhang et al. 2018.
    """

    card: ClassVar[Card] = Card(
        name="attention_entropy",
        formula={"model": r"-\sum_t\sum_ia_{ti}\log a_{ti}"},
        minimised_by="The model minimises it beside its token loss.",
        when="For sharp alignments.",
        fails="Early in training it fixes a wrong alignment.",
        references=(
            Reference(
                authors="Zhang, Zhao, Li, Zong",
                year=2018,
                title="Attention With Sparsity Regularization for Neural Machine Translation and Summarization",
                venue="IEEE/ACM Transactions on Audio, Speech, and Language Processing",
                url="https://doi.org/10.1109/TASLP.2018.2883740",
            ),
        ),
    )

    def _penalty(self, attention: Tensor, source_mask: Tensor, target_mask: Tensor) -> Tensor:
        # The slope of -a log a is infinite at 0, where a softmax rounds to: 0 times infinity in the chain rule.
        # NaN is no 0, and stays.
        entropy: Tensor = torch.special.entr(torch.where(attention == 0.0, 1.0, attention)).sum((1, 2))
        return entropy
