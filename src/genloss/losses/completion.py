"""Losses on sampled prefixes that ask for their best completion."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from genloss.losses._checks import at_least_float32, in_vocabulary, whole_numbers
from genloss.losses._fields import at_least
from genloss.losses.card import Card, Loss, Reference
from genloss.losses.sequence import blanked, check_sentences, mask_after_end

__all__ = ["CompletionLoss", "OptimalCompletion"]


class CompletionLoss(Loss, ABC):
    """A loss on the next token after each prefix of a sample of the model. A subclass writes `_loss`."""

    family: ClassVar[str] = "completion"

    @final
    def __call__(self, sample_logits: Tensor, samples: Tensor, targets: Tensor) -> Tensor:
        """Returns what the model minimises, per sequence.

        Args:
            sample_logits: `(batch, length, vocabulary)`, floating, of each token given the sample's tokens before.
            samples: `(batch, length)`, int64; what follows the end token counts nothing.
            targets: `(batch, target_length)`, int64, each with its end token.

        Returns:
            `(batch,)`, nats, float32 or better, summed over the sample's tokens up to its end.

        Raises:
            TypeError: a dtype is wrong.
            ValueError: shapes do not fit, or (checked on the CPU only) a token is not in the vocabulary or a target has
                no end token.
        """
        whole_numbers(samples=samples, targets=targets)
        check_sentences(sample_logits, samples, torch.ones_like(samples, dtype=torch.bool))
        if targets.ndim != 2 or len(targets) != len(samples):
            raise ValueError(f"targets have shape {tuple(targets.shape)}, expected ({len(samples)}, length).")
        in_vocabulary(sample_logits.shape[-1], targets=targets)
        return self._loss(at_least_float32(sample_logits), samples, targets)

    @abstractmethod
    def _loss(self, sample_logits: Tensor, samples: Tensor, targets: Tensor) -> Tensor: ...


@dataclass(frozen=True, kw_only=True)
class OptimalCompletion(CompletionLoss):
    r"""Teaches, after every prefix of the model's own sample, the tokens that still reach the smallest edit distance.

    $$\sum_tKL\big(\pi^\star(\cdot|\tilde y_{<t})\,\Vert\,p(\cdot|\tilde y_{<t})\big)$$

    $\pi^\star$ is uniform over the tokens that begin a completion of the least edit distance to the target, found by
    dynamic programming. 0 where the model always goes on optimally. No exposure bias and no pretraining needed: the
    model learns on its own prefixes. Use it for transcription and other tasks that an edit distance measures. It fails
    where a different wording is right too.

    Args:
        end: the token that ends a sequence, at least 0.

    Raises:
        ValueError: a field is out of its range.

    Example:
        >>> logits = 50.0 * torch.eye(3)[torch.tensor([[1, 2, 0]])]
        >>> OptimalCompletion(end=0)(logits, torch.tensor([[1, 2, 0]]), torch.tensor([[1, 2, 0]]))
        tensor([0.])

    Source: Sabour, Chan & Norouzi 2019, section 3 and algorithm 1.
    """

    card: ClassVar[Card] = Card(
        name="optimal_completion",
        aliases=("ocd",),
        formula={"model": r"\sum_tKL(\pi^\star(\cdot|\tilde y_{<t})\Vert p(\cdot|\tilde y_{<t}))"},
        minimised_by="The model minimises it on its own samples.",
        when="For tasks that an edit distance measures, such as transcription; without pretraining.",
        fails="Where a different wording is right too.",
        references=(
            Reference(
                authors="Sabour, Chan, Norouzi",
                year=2019,
                title="Optimal Completion Distillation for Sequence Learning",
                venue="ICLR",
                url="https://arxiv.org/abs/1810.01398",
                equation="section 3, algorithm 1",
            ),
        ),
    )

    end: int

    def __post_init__(self) -> None:
        at_least(0, end=self.end)

    def _loss(self, sample_logits: Tensor, samples: Tensor, targets: Tensor) -> Tensor:
        counts = mask_after_end(targets, self.end)
        if targets.device.type == "cpu" and not bool((targets == self.end).any(1).all()):
            raise ValueError(f"a target has no end token {self.end}, expected one in each; append it.")
        best = self._optimal(samples, targets, counts, sample_logits.shape[-1])
        said = mask_after_end(samples, self.end)
        log_best = -best.sum(-1).to(sample_logits.dtype).log()  # of each optimal token: they are equally likely
        log_probs = torch.where(best, blanked(sample_logits, said).log_softmax(-1), 0.0)
        divergence = log_best - log_probs.sum(-1) * log_best.exp()
        return torch.where(said, divergence, 0.0).sum(1)

    def _optimal(self, samples: Tensor, targets: Tensor, counts: Tensor, vocabulary: int) -> Tensor:
        """Returns which tokens are optimal after each prefix, `(batch, length, vocabulary)`."""
        batch, length = samples.shape
        columns = torch.arange(targets.shape[1], device=targets.device)
        # distance[j]: edit distance of the prefix so far to the first j target tokens; the token at j comes next.
        distance = columns.expand(batch, -1)
        far = targets.shape[1] + length + 1
        best = torch.zeros(batch, length, vocabulary, dtype=torch.bool, device=samples.device)
        for t in range(length):
            reachable = torch.where(counts, distance, far)
            optimal = reachable == reachable.amin(1, keepdim=True)
            hits = torch.zeros(batch, vocabulary, dtype=torch.long, device=samples.device)
            best[:, t] = hits.scatter_add_(1, targets, optimal.long()) > 0
            different = (samples[:, t : t + 1] != targets[:, :-1]).long()
            entered = torch.cat(
                (distance[:, :1] + 1, torch.minimum(distance[:, 1:] + 1, distance[:, :-1] + different)), 1
            )
            # Insertions run along the target: the smallest of entered[k] + (j - k) over k <= j.
            distance = (entered - columns).cummin(1).values + columns
        return best
