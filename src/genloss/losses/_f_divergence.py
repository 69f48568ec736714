"""The variational f-divergence losses: what all nine share."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from genloss.losses import _references as source
from genloss.losses._adversarial import AdversarialLoss
from genloss.losses.card import Card, Equilibrium

__all__ = ["SCORE_LIMIT", "FDivergence", "f_card"]

SCORE_LIMIT = 80.0  # e^80 is 5e34: values, gradients and their batch sums stay below the float32 maximum, 3e38


def f_card(
    divergence: str,
    *,
    activation: str,
    conjugate: str,
    bound: str,
    fails: str,
    score_range: tuple[float, float] | None = None,
) -> Card:
    """Returns the card of one f-divergence loss.

    Args:
        divergence: its name after `f_`.
        activation: LaTeX of $g_f(v)$.
        conjugate: LaTeX of $f^*(g_f(v))$.
        bound: what the discriminator's negative loss reaches, a sentence.
        fails: how it fails.
        score_range: where the loss can be computed.
    """
    return Card(
        name=f"f_{divergence}",
        formula={
            "discriminator": rf"-g_f(a_r)+f^*(g_f(a_f)),\ g_f(v)={activation},\ f^*(g_f(v))={conjugate}",
            "generator": r"-g_f(a_f)\text{ (trick) or }-f^*(g_f(a_f))\text{ (conjugate)}",
        },
        minimised_by="The discriminator minimises the negative of a lower bound of the divergence; the generator the "
        f"bound, or raises the scores of its samples (the trick). {bound}",
        when="To choose what the generator trades: divergences that weigh by the data cover every mode, those that "
        "weigh by the model stay on the modes that they know.",
        fails=fails,
        references=(source.NOWOZIN_2016.at("(4), (7), tables 2 and 6"),),
        score_range=score_range,
    )


@dataclass(frozen=True, kw_only=True)
class FDivergence(AdversarialLoss):
    r"""A variational lower bound of an f-divergence between the data and the model.

    $$D_f(p_r\Vert p_g)=\int p_g\,f\!\left(\frac{p_r}{p_g}\right)\ge
    \mathbb E_{p_r}[g_f(a_r)]-\mathbb E_{p_g}[f^*(g_f(a_f))]$$

    The discriminator minimises the negative of the right-hand side; it is tight at the score `optimal_score(ratio)`.
    The output activation $g_f$ is increasing, so that a high score always means real. A subclass writes $f$, $g_f$,
    $f^*\circ g_f$ in stable form and the best score.

    Args:
        generator_form: `trick` minimises $-g_f(a_f)$ (section 3.2 of the paper), `conjugate` minimises
            $-f^*(g_f(a_f))$, the true bound, which often saturates.

    Raises:
        ValueError: `generator_form` is neither; in a call, a score lies outside the card's `score_range`, where the
            exponentials overflow (the check reads one number from the device).

    Source: Nowozin et al. 2016, equations 4 and 7, tables 2 and 6.
    """

    generator_form: Literal["trick", "conjugate"] = "trick"

    conjugate_saturates: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.generator_form not in ("trick", "conjugate"):
            raise ValueError(f"generator_form is {self.generator_form!r}, expected 'trick' or 'conjugate'.")

    @abstractmethod
    def convex_function(self, ratio: Tensor) -> Tensor:
        """Returns $f(u)$ at density ratios $u=p_r/p_g>0$, elementwise."""

    @abstractmethod
    def optimal_score(self, ratio: Tensor) -> Tensor:
        """Returns the score of the best critic, $g_f^{-1}(f'(u))$, at density ratios $u=p_r/p_g>0$, elementwise."""

    @abstractmethod
    def _activation(self, score: Tensor) -> Tensor:
        """Returns $g_f(v)$."""

    @abstractmethod
    def _conjugate(self, score: Tensor) -> Tensor:
        """Returns $f^*(g_f(v))$."""

    def saturates(self) -> frozenset[str]:
        """Names the players whose gradient vanishes where they are badly wrong, in the form that was chosen."""
        return frozenset({"generator"} if self.generator_form == "conjugate" and self.conjugate_saturates else ())

    def equilibrium(self, *, batch: int = 1) -> Equilibrium:
        """Returns $-f(1)$ at the best score for the ratio 1, and the generator's loss there."""
        one = torch.ones(1, dtype=torch.float64)
        score = self.optimal_score(one)
        return Equilibrium(
            score=score.item(),
            discriminator=-self.convex_function(one).item(),
            generator=self._generator(score, None).item(),
        )

    @final
    def _discriminator(self, a_r: Tensor, a_f: Tensor) -> Tensor:
        self._check_range(real_scores=a_r, fake_scores=a_f)
        return self._conjugate(a_f) - self._activation(a_r)

    @final
    def _generator(self, a_f: Tensor, a_r: Tensor | None) -> Tensor:
        self._check_range(fake_scores=a_f)
        return -(self._activation(a_f) if self.generator_form == "trick" else self._conjugate(a_f))

    def _check_range(self, **scores: Tensor) -> None:
        """Raises ValueError when a score lies where the exponentials overflow."""
        allowed = self.score_range()
        if allowed is None:
            return
        low, high = allowed
        for name, values in scores.items():
            beyond = (values < low) | (values > high)  # NaN is not, and stays for the training loop to name
            if bool(beyond.any()):
                outside = values.detach()[beyond]
                worst = outside[outside.abs().argmax()].item()
                raise ValueError(
                    f"{name} reach {worst:.4g}, and {type(self).__name__} can be computed for scores in "
                    f"[{low:g}, {high:g}] only, beyond which it overflows; bound the critic (spectral normalisation, "
                    "r1, a smaller learning rate) or choose f_gan or f_jensen_shannon, which have no such limit."
                )
