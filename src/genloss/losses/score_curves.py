"""What an adversarial loss does with a score: its value and gradient for each role, to look at."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from genloss.losses._adversarial import AdversarialLoss

__all__ = ["ScoreCurve", "score_curves"]

_REACH = 5.0  # on either side of the equilibrium
_MEMORY = 500  # updates that a memory has seen: the weight k of BEGAN then is half its largest


@dataclass(frozen=True, kw_only=True)
class ScoreCurve:
    """One role's loss against one score, the other side's score held at the equilibrium.

    The loss of a pair is the sum of both sides where it splits, so that values hold what the other score adds.

    Args:
        role: `discriminator` or `generator`.
        side: whose score moves, `real` or `fake`.
        other_score: where the other side's score is held.
        scores: increasing.
        values: the loss of one sample at each score.
        gradients: its derivative in the score.
    """

    role: str
    side: str
    other_score: float
    scores: tuple[float, ...]
    values: tuple[float, ...]
    gradients: tuple[float, ...]


def score_curves(loss: AdversarialLoss, points: int = 201) -> list[ScoreCurve]:
    """Returns the loss's curves: the discriminator's in a real and in a fake score, the generator's in a fake one.

    Each point is a batch of one real and one fake sample. Scores span 5 on either side of the equilibrium, within the
    loss's range; energies begin at 0 and pass the margin.

    Args:
        loss: an adversarial loss.
        points: how many scores, at least 2.

    Example:
        >>> from genloss.losses import Hinge
        >>> real, fake, generator = score_curves(Hinge(), points=3)
        >>> real.scores, real.values, generator.gradients
        ((-5.0, 0.0, 5.0), (7.0, 2.0, 1.0), (-1.0, -1.0, -1.0))
    """
    stated = loss.equilibrium()
    centre = (stated.score if stated is not None else None) or 0.0
    low, high = loss.score_range() or (-math.inf, math.inf)
    reach = _REACH
    if loss.energies and stated is not None:
        # Beyond a margin, which is what the discriminator pays at rest.
        reach = max(reach, 1.5 * stated.discriminator)
    low, high = max(low, 0.0 if loss.energies else centre - reach), min(high, centre + reach)
    state = loss.init_state()
    for _ in range(_MEMORY if state else 0):
        state = loss.next_state(state, torch.full((1,), 2.0), torch.zeros(1))
    rest = torch.full((points, 1), centre, dtype=torch.float64)

    def discriminator(real: Tensor, fake: Tensor) -> Tensor:
        pairs = zip(real, fake, strict=True)
        return torch.cat([loss.discriminator(r, f, state=state) for r, f in pairs])

    def generator(fake: Tensor) -> Tensor:
        return torch.cat([loss.generator(f, r) for f, r in zip(fake, rest, strict=True)])

    curves = []
    for role, side in (("discriminator", "real"), ("discriminator", "fake"), ("generator", "fake")):
        scores = torch.linspace(low, high, points, dtype=torch.float64)[:, None].requires_grad_()
        if role == "generator":
            values = generator(scores)
        else:
            values = discriminator(scores, rest) if side == "real" else discriminator(rest, scores)
        (gradients,) = torch.autograd.grad(values.sum(), scores)
        columns = (tuple(column.detach().flatten().tolist()) for column in (scores, values, gradients))
        found, heights, slopes = columns
        curves.append(
            ScoreCurve(role=role, side=side, other_score=centre, scores=found, values=heights, gradients=slopes)
        )
    return curves
