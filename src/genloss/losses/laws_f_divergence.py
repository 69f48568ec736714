"""The laws of the adversarial losses that bound an f-divergence."""

from __future__ import annotations

import torch
from torch import Tensor

from genloss.losses._adversarial import AdversarialLoss
from genloss.losses._f_divergence import FDivergence
from genloss.losses._law_tools import number, same
from genloss.losses.laws import LawBroken, LawSkipped, law

__all__: list[str] = []

_REAL, _FAKE = (0.6, 0.4), (0.3, 0.7)  # ratios on either side of 1, which no symmetry exchanges


def _bound(loss: FDivergence, scores: Tensor, real: Tensor, fake: Tensor) -> Tensor:
    """Returns the bound that a critic with these scores of the outcomes reaches."""
    # Every pair of a real and a fake outcome, since the loss takes them in pairs.
    outcomes = len(scores)
    pairs = loss.discriminator(scores.repeat_interleave(outcomes), scores.repeat(outcomes))
    return -(pairs * torch.outer(real, fake).flatten()).sum()


@law("adversarial")
def _tight(loss: AdversarialLoss) -> str:
    """The bound of an f-divergence is tight at the best score, and nowhere higher near it."""
    if not isinstance(loss, FDivergence):
        raise LawSkipped("it is no f-divergence")
    real, fake = (torch.tensor(values, dtype=torch.float64) for values in (_REAL, _FAKE))
    scores = loss.optimal_score(real / fake).requires_grad_()
    bound = _bound(loss, scores, real, fake)
    divergence = (fake * loss.convex_function(real / fake)).sum()
    what = f"between {_REAL} and {_FAKE} the bound at the best scores {number(scores)} is"
    same(what, bound.detach(), divergence, relative=1e-6)
    (slopes,) = torch.autograd.grad(bound, scores)
    if not bool((slopes.abs() < 1e-6).all()):
        raise LawBroken(f"at the best scores {number(scores)} the bound has slopes {number(slopes)}, expected 0.")
    return f"bound {number(bound)}, divergence {number(divergence)}"
