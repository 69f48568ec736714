"""Losses on sampled sequences and their costs: minimum risk and policy gradients."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, final

from torch import Tensor

from genloss.losses._checks import at_least_float32, boolean, floating, not_above_zero, not_empty, same_shape
from genloss.losses._fields import one_of, positive
from genloss.losses.card import Card, Loss, Reference
from genloss.losses.catalogue import find_loss
from genloss.losses.sequence_costs import Cost, EditDistance

__all__ = ["ExpectedEditDistance", "MinimumRisk", "RiskLoss", "SelfCritical"]

_EDIT_DISTANCE = EditDistance()
_SHEN_2016 = Reference(
    authors="Shen, Cheng, He, He, Wu, Sun, Liu",
    year=2016,
    title="Minimum Risk Training for Neural Machine Translation",
    venue="ACL",
    url="https://arxiv.org/abs/1512.02433",
    equation="section 3",
)


class RiskLoss(Loss, ABC):
    """A loss on several sequences of the model for each target, and what each costs. A subclass writes `_loss`.

    `cost` is the cost of the sequences; `token_costs` applies it. Costs carry no gradient.
    """

    family: ClassVar[str] = "risk"

    @property
    @abstractmethod
    def cost(self) -> Cost:
        """The cost of the sequences."""

    @final
    def __call__(
        self,
        sample_log_probs: Tensor,
        costs: Tensor,
        *,
        distinct: Tensor | None = None,
        greedy_costs: Tensor | None = None,
    ) -> Tensor:
        """Returns what the model minimises, per target.

        Args:
            sample_log_probs: `(batch, samples)`, floating, nats: of whole sequences, from `sequence_log_prob` with
                `mask_after_end`.
            costs: of the same sequences, same shape, floating.
            distinct: `(batch, samples)`, bool, for a loss over distinct sequences; from `distinct_samples`.
            greedy_costs: `(batch,)`, for a loss with that baseline.

        Returns:
            `(batch,)`, float32 or better; the unit is the cost's for a risk, and none for a policy gradient.

        Raises:
            TypeError: a tensor is not floating.
            ValueError: shapes do not fit, something is given that the loss does not use, or (checked on the CPU only) a
                log-probability is above 0 or no sample of a target is distinct.
        """
        floating(sample_log_probs=sample_log_probs, costs=costs)
        not_empty(sample_log_probs=sample_log_probs)
        same_shape(sample_log_probs=sample_log_probs, costs=costs)
        if sample_log_probs.ndim != 2:
            raise ValueError(f"sample_log_probs has shape {tuple(sample_log_probs.shape)}, expected (batch, samples).")
        not_above_zero(sample_log_probs=sample_log_probs)
        if distinct is not None:
            boolean(distinct=distinct)
            same_shape(sample_log_probs=sample_log_probs, distinct=distinct)
            if distinct.is_cpu and not bool(distinct.any(1).all()):
                raise ValueError(
                    "distinct leaves a target without a sample, expected at least one true a row; pass what "
                    "distinct_samples returns."
                )
        if greedy_costs is not None:
            floating(greedy_costs=greedy_costs)
        if greedy_costs is not None and greedy_costs.shape != costs.shape[:1]:
            raise ValueError(
                f"greedy_costs has shape {tuple(greedy_costs.shape)}, expected {tuple(costs.shape[:1])}: one a target."
            )
        return self._loss(at_least_float32(sample_log_probs), at_least_float32(costs).detach(), distinct, greedy_costs)

    @abstractmethod
    def _loss(
        self, log_probs: Tensor, costs: Tensor, distinct: Tensor | None, greedy_costs: Tensor | None
    ) -> Tensor: ...


def _take_cost(loss: MinimumRisk | SelfCritical) -> None:
    """Makes a cost of its name; a function of produced sequences and references is one too."""
    cost: object = loss.cost
    if isinstance(cost, str):
        try:
            cost = find_loss(cost, Cost.family)()
        except KeyError as error:
            raise ValueError(f"cost is {cost!r}: {error.args[0]}") from error
        object.__setattr__(loss, "cost", cost)
    if isinstance(cost, type) or not callable(cost):
        raise ValueError(
            f"cost is {cost!r}, expected a Cost such as BLEU(), its name, or a function of produced sequences and "
            f"references that returns a tensor with one cost for each."
        )


@dataclass(frozen=True, kw_only=True)
class _Expectation(RiskLoss):
    """The expected cost under the model's renormalised and sharpened probabilities."""

    alpha: float = 1.0

    def __post_init__(self) -> None:
        positive(alpha=self.alpha)

    def _loss(self, log_probs: Tensor, costs: Tensor, distinct: Tensor | None, greedy_costs: Tensor | None) -> Tensor:
        if greedy_costs is not None:
            raise ValueError(f"{type(self).__name__} has no baseline and got greedy_costs; leave them out.")
        weights = self.alpha * log_probs
        if distinct is not None:
            weights = weights.masked_fill(~distinct, -math.inf)
            costs = costs.masked_fill(~distinct, 0.0)
        return (weights.softmax(1) * costs).sum(1)


@dataclass(frozen=True, kw_only=True)
class MinimumRisk(_Expectation):
    r"""The expected cost of the model's own sequences.

    $$\sum_s\frac{p(y_s)^\alpha}{\sum_{s'}p(y_{s'})^\alpha}\,c(y_s)$$

    Over distinct sequences, sampled or from a beam: pass `distinct`. The weights are the softmax of $\alpha\log p$;
    the softmax of $p$ itself, found in published code, is nearly uniform for long sequences and carries no signal. Use
    it after training with the cross-entropy, for the cost that counts. It fails from a random start, where all samples
    are equally bad; equal costs give no gradient. Without `distinct` a sequence counts as often as it was drawn, which
    weighs likely ones twice.

    Args:
        cost: what sequences cost, for `token_costs`: a `Cost`, its name (`bleu`, `chrf`, `edit_distance`), or a
            function of produced sequences and references that returns one cost for each.
        alpha: $\alpha$, positive: sharpens above 1. The paper's 0.005 goes with 100 samples of whole sentences.

    Raises:
        ValueError: a field is out of its range.

    Example:
        >>> import torch
        >>> MinimumRisk()(torch.tensor([[-1.0, -1.0]]), torch.tensor([[0.0, 1.0]]))
        tensor([0.5000])

    Source: Shen et al. 2016, section 3.
    """

    card: ClassVar[Card] = Card(
        name="minimum_risk",
        aliases=("mrt",),
        formula={"model": r"\sum_sq_s\,c(y_s),\quad q=\mathrm{softmax}(\alpha\log p)"},
        minimised_by="The model minimises it alone, or beside the cross-entropy.",
        when="After the cross-entropy, for the cost that counts.",
        fails="From a random start; with few samples it sharpens what the model already does.",
        references=(_SHEN_2016,),
    )

    cost: Cost = _EDIT_DISTANCE

    def __post_init__(self) -> None:
        _Expectation.__post_init__(self)
        _take_cost(self)


@dataclass(frozen=True, kw_only=True)
class ExpectedEditDistance(_Expectation):
    r"""The expected edit distance of the model's own sequences: what an edit distance can be as a loss.

    $$\sum_s\frac{p(y_s)^\alpha}{\sum_{s'}p(y_{s'})^\alpha}\,d(y_s,y)$$

    The distance itself has no gradient; its expectation does. `MinimumRisk` with the edit distance as its cost.

    Args:
        alpha: $\alpha$, positive: sharpens above 1.

    Raises:
        ValueError: a field is out of its range.

    Example:
        >>> import torch
        >>> ExpectedEditDistance()(torch.tensor([[-1.0, -1.0]]), torch.tensor([[0.0, 3.0]]))
        tensor([1.5000])

    Source: Shen et al. 2016, section 3; Prabhavalkar et al. 2018, section 3.
    """

    card: ClassVar[Card] = Card(
        name="expected_edit_distance",
        aliases=("minimum_word_error_rate",),
        formula={"model": r"\sum_sq_s\,d(y_s,y),\quad q=\mathrm{softmax}(\alpha\log p)"},
        minimised_by="The model minimises it alone, or beside the cross-entropy.",
        when="After the cross-entropy, where every token counts, as in transcription.",
        fails="From a random start, where all samples are equally far.",
        references=(
            _SHEN_2016,
            Reference(
                authors="Prabhavalkar, Sainath, Wu, Nguyen, Chen, Chiu, Kannan",
                year=2018,
                title="Minimum Word Error Rate Training for Attention-based Sequence-to-Sequence Models",
                venue="ICASSP",
                url="https://arxiv.org/abs/1712.01818",
                equation="section 3",
            ),
        ),
    )

    @property
    def cost(self) -> Cost:
        """The edit distance."""
        return EditDistance()


@dataclass(frozen=True, kw_only=True)
class SelfCritical(RiskLoss):
    r"""REINFORCE on sampled sequences with a baseline that needs no training.

    $$\frac1S\sum_s\big(c(y_s)-b_s\big)\log p(y_s)$$

    $b$ is the cost of the greedy sequence, or the mean cost of the other samples. The gradient is that of the expected
    cost, without bias: samples must be independent draws with their repeats. The value means nothing, is often
    negative, and its fall shows nothing: watch the costs. Use it after the cross-entropy. It fails from a random
    start, and collapses when the learning rate is too high.

    Args:
        cost: what sequences cost, as for `MinimumRisk`.
        baseline: `greedy` (pass `greedy_costs`) or `leave_one_out` (at least 2 samples).

    Raises:
        ValueError: a field is out of its range, or the baseline cannot be computed.

    Example:
        >>> import torch
        >>> SelfCritical()(torch.tensor([[-1.0, -2.0]]), torch.tensor([[0.0, 1.0]]))
        tensor([-0.5000])

    Source: Rennie et al. 2017, equation 9 (greedy); Kool, van Hoof & Welling 2019 (leave one out).
    """

    card: ClassVar[Card] = Card(
        name="self_critical",
        aliases=("scst", "reinforce"),
        formula={"model": r"\frac1S\sum_s(c(y_s)-b_s)\log p(y_s)"},
        minimised_by="The model minimises it, beside or after the cross-entropy.",
        when="After the cross-entropy, for a cost of sampled sequences; the gradient has no bias.",
        fails="From a random start; noisy, and it collapses at high learning rates. Its value shows nothing.",
        references=(
            Reference(
                authors="Rennie, Marcheret, Mroueh, Ross, Goel",
                year=2017,
                title="Self-Critical Sequence Training for Image Captioning",
                venue="CVPR",
                url="https://arxiv.org/abs/1612.00563",
                equation="(9)",
            ),
            Reference(
                authors="Kool, van Hoof, Welling",
                year=2019,
                title="Buy 4 REINFORCE Samples, Get a Baseline for Free!",
                venue="ICLR workshop",
                url="https://openreview.net/forum?id=r1lgTGL5DE",
            ),
        ),
    )

    cost: Cost = _EDIT_DISTANCE
    baseline: Literal["greedy", "leave_one_out"] = "leave_one_out"

    def __post_init__(self) -> None:
        _take_cost(self)
        one_of("baseline", self.baseline, ("greedy", "leave_one_out"))

    def _loss(self, log_probs: Tensor, costs: Tensor, distinct: Tensor | None, greedy_costs: Tensor | None) -> Tensor:
        if distinct is not None:
            raise ValueError("SelfCritical needs independent draws with their repeats and got distinct; leave it out.")
        return ((costs - self._baseline(costs, greedy_costs)) * log_probs).mean(1)

    def _baseline(self, costs: Tensor, greedy_costs: Tensor | None) -> Tensor:
        if (greedy_costs is not None) != (self.baseline == "greedy"):
            wanted = "expected greedy_costs" if self.baseline == "greedy" else "expected no greedy_costs"
            raise ValueError(f"the baseline is {self.baseline!r}, {wanted}; they hold the greedy sequences' costs.")
        if greedy_costs is not None:
            return greedy_costs.detach().unsqueeze(1)
        samples = costs.shape[1]
        if samples < 2:
            raise ValueError(f"leave_one_out got {samples} sample, expected at least 2; draw more or use greedy.")
        return (costs.sum(1, keepdim=True) - costs) / (samples - 1)
