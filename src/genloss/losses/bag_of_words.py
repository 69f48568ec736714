"""Losses on what an encoder's context says of the target sequence as a whole."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from genloss.losses._checks import at_least_float32, floating, whole_numbers
from genloss.losses.card import Card, Loss, Reference
from genloss.losses.sequence import check_tokens

__all__ = ["BagOfWords", "ContextLoss"]


class ContextLoss(Loss, ABC):
    """A loss on what an encoder's context says of the target sequence as a whole. A subclass writes `_loss`."""

    family: ClassVar[str] = "context"

    @final
    def __call__(self, logits: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
        """Returns what the encoder minimises, per sequence.

        Args:
            logits: `(batch, vocabulary)`, floating: one score for each word.
            targets: `(batch, length)`, int64.
            mask: `(batch, length)`, bool, true where a token counts.

        Returns:
            `(batch,)`, nats, float32 or better, summed over tokens.

        Raises:
            TypeError: a dtype is wrong.
            ValueError: shapes do not fit, logits are seen to be probabilities, or (checked on the CPU only) the mask is
                false everywhere or a token, padding too, is not in the vocabulary.
        """
        floating(logits=logits)
        whole_numbers(targets=targets)
        if logits.ndim != 2 or targets.ndim != 2:
            raise ValueError(
                f"logits have shape {tuple(logits.shape)} and targets {tuple(targets.shape)}, expected "
                f"(batch, vocabulary) and (batch, length)."
            )
        check_tokens(logits.unsqueeze(1).expand(-1, targets.shape[1], -1), targets, mask)
        # Of a sentence without a word that counts nothing counts, NaN neither.
        counted = at_least_float32(logits).masked_fill(~mask.any(1, keepdim=True), 0.0)
        return self._loss(counted, targets, mask)

    @abstractmethod
    def _loss(self, logits: Tensor, targets: Tensor, mask: Tensor) -> Tensor: ...


@dataclass(frozen=True, kw_only=True)
class BagOfWords(ContextLoss):
    r"""The target's words from the context alone, without their order.

    $$-\sum_t\log\mathrm{softmax}(l)_{y_t}$$

    An auxiliary term: it keeps the encoder's context informative, against a decoder that ignores it. The optimum is the
    entropy of the bag and not 0. It fails where order is what matters. The cited translation model sums the decoder's
    scores over positions and puts a sigmoid on each word; give the summed scores as logits for the same target here.

    Example:
        >>> BagOfWords()(torch.zeros(1, 4), torch.tensor([[1, 2]]), torch.tensor([[True, True]]))
        tensor([2.7726])

    Source: Ma et al. 2018, section 2.2; Zhao, Zhao & Eskenazi 2017, equation 6 (softmax).
    """

    card: ClassVar[Card] = Card(
        name="bag_of_words",
        formula={"encoder": r"-\sum_t\log\mathrm{softmax}(l)_{y_t}"},
        minimised_by="Encoder (and decoder) minimise it beside their own loss.",
        when="As an auxiliary term, against a decoder that ignores its context.",
        fails="Where the order of words is what matters.",
        references=(
            Reference(
                authors="Ma, Sun, Wang, Lin",
                year=2018,
                title="Bag-of-Words as Target for Neural Machine Translation",
                venue="ACL",
                url="https://arxiv.org/abs/1805.04871",
                equation="section 2.2",
            ),
            Reference(
                authors="Zhao, Zhao, Eskenazi",
                year=2017,
                title="Learning Discourse-level Diversity for Neural Dialog Models using Conditional Variational "
                "Autoencoders",
                venue="ACL",
                url="https://arxiv.org/abs/1703.10960",
                equation="(6)",
            ),
        ),
    )

    def _loss(self, logits: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
        return -torch.where(mask, logits.log_softmax(-1).gather(1, targets), 0.0).sum(1)
