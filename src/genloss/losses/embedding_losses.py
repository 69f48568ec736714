"""Losses between sentences as matrices of embeddings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from genloss.losses._checks import (
    at_least_float32,
    boolean,
    floating,
    logits_not_probabilities,
    mask_counts,
    not_empty,
    same_kind,
    same_shape,
)
from genloss.losses._fields import one_of, positive
from genloss.losses.card import Card, Loss, Reference
from genloss.losses.sequence import blanked

__all__ = ["EmbeddingLoss", "SequenceMatching", "expected_embeddings"]


def expected_embeddings(
    logits: Tensor,
    table: Tensor,
    *,
    mode: Literal["expected", "straight_through", "gumbel"] = "expected",
    temperature: float = 1.0,
    rng: torch.Generator | None = None,
) -> Tensor:
    r"""Returns an embedding for each position of a sentence that the model says, differentiable in its logits.

    `expected` is $\sum_vp(v)E_v$. `straight_through` is the embedding of the likeliest token, with the gradient of the
    expected one. `gumbel` is the expected one under logits with Gumbel noise: a sharpened random draw.

    Args:
        logits: `(batch, length, vocabulary)`, floating.
        table: embeddings `(vocabulary, dim)`.
        mode: as above.
        temperature: divides the logits, positive; small ones sharpen.
        rng: where the Gumbel noise is drawn from.

    Returns:
        `(batch, length, dim)`.

    Raises:
        TypeError: a tensor is not floating, or dtypes or devices differ (half precision counts as float32).
        ValueError: shapes do not fit, logits come straight from a softmax, the mode is unknown, or `gumbel` got no
            `rng`.

    Example:
        >>> expected_embeddings(torch.zeros(1, 1, 2), torch.tensor([[0.0], [1.0]]))
        tensor([[[0.5000]]])

    Source: Jang, Gu & Poole 2017, equations 2 and 3; Bengio, Leonard & Courville 2013 (straight through).
    """
    floating(logits=logits, table=table)
    logits_not_probabilities(logits=logits)
    one_of("mode", mode, ("expected", "straight_through", "gumbel"))
    positive(temperature=temperature)
    if table.ndim != 2 or logits.shape[-1] != table.shape[0]:
        raise ValueError(
            f"logits have shape {tuple(logits.shape)} and table {tuple(table.shape)}, expected "
            f"(batch, length, vocabulary) and (vocabulary, dim)."
        )
    scores, table = at_least_float32(logits), at_least_float32(table)
    same_kind(logits=scores, table=table)
    if mode == "gumbel":
        if rng is None:
            raise ValueError("mode='gumbel' draws noise and got no rng; pass rng=torch.Generator().")
        scores = scores - torch.empty_like(scores).exponential_(generator=rng).log()
    expected = (scores / temperature).softmax(-1) @ table
    if mode != "straight_through":
        return expected
    likeliest = table[scores.argmax(-1)]
    return expected + (likeliest - expected).detach()


class EmbeddingLoss(Loss, ABC):
    """A loss between two sentences, each a matrix with a row for each position.

    A subclass writes `_loss`, which gets padding as zeros.
    """

    family: ClassVar[str] = "embedding"

    @final
    def __call__(self, embeddings: Tensor, target_embeddings: Tensor, mask: Tensor) -> Tensor:
        """Returns what the model minimises, per sentence.

        Args:
            embeddings: of the model's sentence, `(batch, length, dim)`, floating; see `expected_embeddings`.
            target_embeddings: of the target, same shape.
            mask: `(batch, length)`, bool, true where a position counts.

        Returns:
            `(batch,)`, float32 or better, in squared units of the embeddings, summed over positions.

        Raises:
            TypeError: a dtype is wrong, or dtypes or devices of the embeddings differ.
            ValueError: shapes do not fit, or (checked on the CPU only) the mask is false everywhere.
        """
        floating(embeddings=embeddings, target_embeddings=target_embeddings)
        not_empty(embeddings=embeddings)
        same_shape(embeddings=embeddings, target_embeddings=target_embeddings)
        same_kind(embeddings=embeddings, target_embeddings=target_embeddings)
        boolean(mask=mask)
        if embeddings.ndim != 3 or mask.shape != embeddings.shape[:2]:
            raise ValueError(
                f"embeddings have shape {tuple(embeddings.shape)} and mask {tuple(mask.shape)}, expected "
                f"(batch, length, dim) and (batch, length)."
            )
        mask_counts(mask=mask)
        embeddings, target_embeddings = at_least_float32(embeddings), at_least_float32(target_embeddings)
        return self._loss(blanked(embeddings, mask), blanked(target_embeddings, mask), mask)

    @abstractmethod
    def _loss(self, embeddings: Tensor, target_embeddings: Tensor, mask: Tensor) -> Tensor: ...


@dataclass(frozen=True, kw_only=True)
class SequenceMatching(EmbeddingLoss):
    r"""The squared distance of two sentences as matrices.

    $$\lVert M(y)-M(y')\rVert^2$$

    Use it where near words should cost little: a synonym's embedding is close. Attention terms $\lambda R(h_t)$ are
    separate losses. It fails with a table that trains along: all embeddings shrink to one point, at loss 0. Freeze the
    table, or detach the target's.

    Example:
        >>> mask = torch.tensor([[True, False]])
        >>> SequenceMatching()(torch.ones(1, 2, 3), torch.zeros(1, 2, 3), mask)
        tensor([3.])

    Source: Kumar & Tsvetkov 2019, section 3 (embedding outputs with a squared loss).
    """

    card: ClassVar[Card] = Card(
        name="sequence_matching",
        formula={"model": r"\lVert M(y)-M(y')\rVert^2"},
        minimised_by="The model minimises it, beside the cross-entropy.",
        when="Where near words should cost little.",
        fails="With a table that trains along, all embeddings shrink to one point.",
        references=(
            Reference(
                authors="Kumar, Tsvetkov",
                year=2019,
                title="Von Mises-Fisher Loss for Training Sequence to Sequence Models with Continuous Outputs",
                venue="ICLR",
                url="https://arxiv.org/abs/1812.04616",
                equation="section 3",
            ),
        ),
    )

    def _loss(self, embeddings: Tensor, target_embeddings: Tensor, mask: Tensor) -> Tensor:
        return (embeddings - target_embeddings).square().sum((1, 2))
