"""Adversarial losses whose critic returns an energy, low for real samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import relu

from genloss.losses import _references as source
from genloss.losses._adversarial import AdversarialLoss, adam
from genloss.losses._checks import at_least_float32, remembers
from genloss.losses._fields import positive
from genloss.losses.card import Card, Equilibrium, Reference

__all__ = ["BoundaryEquilibrium", "EnergyBased"]


@dataclass(frozen=True, kw_only=True)
class EnergyBased(AdversarialLoss):
    r"""An energy that is low on the data and at least a margin elsewhere (EBGAN).

    $$L_D=E(x)+[m-E(G(z))]_+,\qquad L_G=E(G(z))$$

    Energies are at least 0, as a reconstruction error of an autoencoder is. Use it with an autoencoder as the critic;
    add `PullingAway` against collapse. It fails when the margin does not fit the scale of the energy: too large and
    the generator chases a moving target, too small and fakes are ignored.

    Args:
        margin: the margin $m$ in units of the energy, positive.

    Raises:
        ValueError: the margin is not positive and finite.

    Example:
        >>> import torch
        >>> EnergyBased(margin=10.0).discriminator(torch.tensor([1.0]), torch.tensor([4.0]))
        tensor([7.])

    Source: Zhao et al. 2017, equations 1 and 2.
    """

    margin: float = 10.0

    energies: ClassVar[bool] = True
    card: ClassVar[Card] = Card(
        name="energy_based",
        aliases=("ebgan",),
        formula={"discriminator": r"E(x)+[m-E(G(z))]_+", "generator": r"E(G(z))"},
        minimised_by="The critic minimises the energy of the data and raises that of fakes up to the margin; the "
        "generator minimises the energy of its samples.",
        when="With an autoencoder as the critic, whose reconstruction error is the energy.",
        fails="The margin must fit the energy's scale; collapses without a repelling term.",
        references=(source.ZHAO_2017.at("(1), (2)"),),
        paper={**adam(1e-3, 0.9, 0.999), "model.critic": {"name": "autoencoder"}},
    )

    def __post_init__(self) -> None:
        positive(margin=self.margin)

    def _discriminator(self, a_r: Tensor, a_f: Tensor) -> Tensor:
        return a_r + relu(self.margin - a_f)

    def _generator(self, a_f: Tensor, a_r: Tensor | None) -> Tensor:
        return a_f

    def equilibrium(self, *, batch: int = 1) -> Equilibrium:
        """Returns the margin for the critic, at any constant energy in [0, margin]."""
        return Equilibrium(score=None, discriminator=self.margin, generator=None)


@dataclass(frozen=True, kw_only=True)
class BoundaryEquilibrium(AdversarialLoss):
    r"""Energies balanced by a control loop: fakes count as much as keeps their energy at a share of the data's (BEGAN).

    $$L_D=E(x)-k\,E(G(z)),\qquad L_G=E(G(z)),\qquad
    k\leftarrow\mathrm{clip}\bigl(k+\lambda(\gamma\,\overline{E(x)}-\overline{E(G(z))}),0,1\bigr)$$

    The memory is $k$, from 0. Energies are at least 0, which is not checked: a critic with unbounded scores has no
    floor to fall to. Use it with an autoencoder as the critic. A low `gamma` gives sharp samples of little
    diversity: the balance, not the data, decides.

    Args:
        gamma: the share $\gamma=E[E(G(z))]/E[E(x)]$ that the loop keeps, in (0, 1].
        gain: the step $\lambda$ of the loop, positive.

    Raises:
        ValueError: a field is out of its range; in `discriminator`, there is no state.

    Example:
        >>> import torch
        >>> loss = BoundaryEquilibrium(gain=0.1)
        >>> state = loss.init_state()
        >>> real, fake = torch.tensor([2.0]), torch.tensor([0.5])
        >>> state = loss.next_state(state, real, fake)
        >>> loss.discriminator(real, fake, state=state)
        tensor([1.9750])

    Source: Berthelot, Schumm, Metz 2017, section 3.4.
    """

    gamma: float = 0.5
    gain: float = 0.001

    energies: ClassVar[bool] = True
    card: ClassVar[Card] = Card(
        name="boundary_equilibrium",
        aliases=("began",),
        formula={
            "discriminator": r"E(x)-k\,E(G(z)),\ k\leftarrow\mathrm{clip}(k+\lambda(\gamma E(x)-E(G(z))),0,1)",
            "generator": r"E(G(z))",
        },
        minimised_by="The critic minimises the energy of the data less k times that of fakes; the generator the energy "
        "of its samples.",
        when="With an autoencoder as the critic, when the two players should be balanced by themselves.",
        fails="A low gamma trades diversity for sharpness; the loop is slow, and one critic's scale sets its gain.",
        references=(
            Reference(
                authors="Berthelot, Schumm, Metz",
                year=2017,
                title="BEGAN: Boundary Equilibrium Generative Adversarial Networks",
                venue="arXiv",
                url="https://arxiv.org/abs/1703.10717",
                equation="section 3.4",
            ),
        ),
        paper={**adam(1e-4, 0.9, 0.999), "model.critic": {"name": "autoencoder", "power": 1}},
    )

    def __post_init__(self) -> None:
        positive(gamma=self.gamma, gain=self.gain)
        if self.gamma > 1.0:
            raise ValueError(f"gamma is {self.gamma}, expected a share in (0, 1].")

    def init_state(self) -> dict[str, Tensor]:
        """Returns the weight of fakes, `k`, at 0."""
        return {"k": torch.zeros(())}

    def next_state(self, state: Mapping[str, Tensor], real_scores: Tensor, fake_scores: Tensor) -> dict[str, Tensor]:
        """Returns `k` after one step of the loop, detached, in [0, 1]; raises as `discriminator`."""
        remembers(state, *self.init_state())
        self._check(real_scores=real_scores, fake_scores=fake_scores)
        real, fake = (at_least_float32(scores.detach()).mean() for scores in (real_scores, fake_scores))
        error = self.gamma * real - fake
        return {"k": (state["k"].to(error) + self.gain * error).clamp(0.0, 1.0)}

    def _discriminator_with(self, state: Mapping[str, Tensor] | None, a_r: Tensor, a_f: Tensor) -> Tensor:
        if state is None:
            raise ValueError(
                "BoundaryEquilibrium got no state, and its weight of fakes lives there; start with init_state(), pass "
                "state=..., and replace it by next_state(...) after each update."
            )
        return a_r - state["k"].to(a_f) * a_f

    def _discriminator(self, a_r: Tensor, a_f: Tensor) -> Tensor:
        return self._discriminator_with(self.init_state(), a_r, a_f)

    def _generator(self, a_f: Tensor, a_r: Tensor | None) -> Tensor:
        return a_f

    def equilibrium(self, *, batch: int = 1) -> Equilibrium:
        """Returns 0 for both players at energy 0: everything is reconstructed."""
        return Equilibrium(score=0.0, discriminator=0.0, generator=0.0)
