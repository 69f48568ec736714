"""Penalties on how a critic's scores change, over time or under a perturbation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, pad

from genloss.losses._checks import at_least_float32, floating, logits_not_probabilities, random_stream, remembers
from genloss.losses._fields import at_least, not_negative, positive, true_or_false
from genloss.losses._penalty import CriticView, Penalty, unit_rows
from genloss.losses.card import Card, Reference

__all__ = ["Consistency", "LatentConsistency", "LeCam", "VirtualAdversarial"]


def _average(values: Tensor) -> Tensor:
    """Returns the mean over every axis but the first."""
    return values.flatten(1).mean(1) if values.ndim > 1 else values


@dataclass(frozen=True, kw_only=True)
class LeCam(Penalty):
    r"""Pulls real scores to the past average of fake scores, and fake scores to that of real ones.

    $$(D(x)-\alpha_F)^2+(D(G(z))-\alpha_R)^2,\qquad \alpha\leftarrow d\,\alpha+(1-d)\,\bar D$$

    The memory is the two averages, from 0. Use it with little data: with the Wasserstein loss it bounds the LeCam
    divergence. It fails before the averages have settled, so give it a late start, and with a large weight it makes
    the critic blind.

    Args:
        decay: the share $d$ that an average keeps at each update, in [0, 1).

    Raises:
        ValueError: the decay is out of its range.

    Example:
        >>> import torch
        >>> penalty = LeCam(decay=0.5)
        >>> state = penalty.next_state(penalty.init_state(), torch.tensor([4.0]), torch.tensor([-4.0]))
        >>> x = torch.zeros(1, 1)
        >>> critic = torch.nn.Identity()
        >>> penalty(critic, x, x, torch.Generator(), state=state)
        tensor([8.])

    Source: Tseng et al. 2021, section 3.2.
    """

    decay: float = 0.99

    points: ClassVar[frozenset[str]] = frozenset({"real", "fake"})
    card: ClassVar[Card] = Card(
        name="lecam",
        formula={"discriminator": r"(D(x)-\alpha_F)^2+(D(G(z))-\alpha_R)^2,\ \alpha\leftarrow d\,\alpha+(1-d)\,\bar D"},
        minimised_by="The discriminator minimises it beside its loss.",
        when="With little training data, beside augmentation.",
        fails="Meaningless before its averages settle; a large weight blinds the critic.",
        references=(
            Reference(
                authors="Tseng, Jiang, Liu, Yang, Yang",
                year=2021,
                title="Regularizing Generative Adversarial Networks under Limited Data",
                venue="CVPR",
                url="https://arxiv.org/abs/2104.03310",
                equation="section 3.2",
            ),
        ),
        weight=0.3,
    )

    def __post_init__(self) -> None:
        not_negative(decay=self.decay)
        if self.decay >= 1.0:
            raise ValueError(f"decay is {self.decay}, expected a share in [0, 1).")

    def init_state(self) -> dict[str, Tensor]:
        """Returns both averages at 0."""
        return {"real": torch.zeros(()), "fake": torch.zeros(())}

    def next_state(self, state: Mapping[str, Tensor], real_scores: Tensor, fake_scores: Tensor) -> dict[str, Tensor]:
        """Returns both averages after an update on these scores, detached."""
        remembers(state, "real", "fake")
        floating(real_scores=real_scores, fake_scores=fake_scores)
        scores = {"real": real_scores, "fake": fake_scores}
        means = {name: at_least_float32(values.detach()).mean() for name, values in scores.items()}
        return {name: torch.lerp(mean, state[name].to(mean), self.decay) for name, mean in means.items()}

    def _penalty(self, view: CriticView) -> Tensor:
        real, fake = view.scores(view.real), view.scores(view.fake)
        return _average((real - view.state["fake"].to(real)).square() + (fake - view.state["real"].to(fake)).square())


@dataclass(frozen=True, kw_only=True)
class VirtualAdversarial(Penalty):
    r"""How far the critic's probability moves under the small perturbation that moves it most.

    $$KL\bigl(p(x)\,\Vert\,p(x+r)\bigr),\qquad r=\arg\max_{\lVert r\rVert_2\le\rho}KL,\qquad p=\sigma(D)$$

    $r$ lies along the dominant direction of the KL's second derivative at $x$, which power iteration finds. To second
    order its two signs are alike, and the paper takes the one that chance gives; here the larger divergence of both is
    the penalty, which for a critic linear in $x$ is the maximum itself, and for another an approximation of it. $p(x)$
    is held constant. Use it to smooth a discriminator of the cross-entropy losses where the data lie. Scores must be
    logits. It costs a pass of the critic there and back an iteration, and two passes more. It fails where scores are
    beyond about 80 in float32, where the probability's slope, and with it the direction, rounds to 0.

    Args:
        radius: length $\rho$ of the perturbation in units of the data, positive.
        iterations: power iterations, at least 1; with one score a sample, one finds the direction exactly.
        step: length of the finite step, small against the radius, positive.

    Raises:
        ValueError: a field is out of its range; in a call, scores come straight from a sigmoid.

    Example:
        >>> import torch
        >>> critic = torch.nn.Linear(2, 1)
        >>> _ = critic.weight.data.fill_(0.0)
        >>> real = torch.zeros(1, 2)
        >>> VirtualAdversarial()(critic, real, real, torch.Generator()).item()
        0.0

    Source: Miyato, Maeda, Koyama, Ishii 2018, equation 5 and algorithm 1.
    """

    radius: float = 1.0
    iterations: int = 1
    step: float = 1e-3

    points: ClassVar[frozenset[str]] = frozenset({"real", "noise"})
    follows_critic: ClassVar[bool] = True
    card: ClassVar[Card] = Card(
        name="virtual_adversarial",
        aliases=("vat",),
        formula={
            "discriminator": r"\max_{r\in\{\rho u,-\rho u\}}KL(p(x)\Vert p(x+r)),\ p=\sigma(D),\ "
            r"u\text{ the dominant eigenvector of }\nabla_r^2KL\text{ at }r=0"
        },
        minimised_by="The discriminator minimises it beside its loss.",
        when="To smooth a discriminator with logits around the data, e.g. with few labels.",
        fails="Costs two passes of the critic and two more an iteration; the radius must fit the data's scale; blind "
        "where scores are so large that the probability is constant in float32.",
        references=(
            Reference(
                authors="Miyato, Maeda, Koyama, Ishii",
                year=2018,
                title="Virtual Adversarial Training: A Regularization Method for Supervised and Semi-Supervised "
                "Learning",
                venue="IEEE TPAMI",
                url="https://arxiv.org/abs/1704.03976",
                equation="(5), algorithm 1",
            ),
        ),
    )

    def __post_init__(self) -> None:
        positive(radius=self.radius, step=self.step)
        at_least(1, iterations=self.iterations)

    def _penalty(self, view: CriticView) -> Tensor:
        clean = view.scores(view.real)
        logits_not_probabilities(scores=clean)
        clean = clean.detach()
        real = at_least_float32(view.real.detach())
        direction = _unit(view.jitter(torch.zeros_like(real), 1.0))
        for _ in range(self.iterations):
            with torch.enable_grad():
                trial = (real + self.step * direction).requires_grad_()
                divergence = _bernoulli_kl(clean, view.scores(trial)).sum()
                (gradient,) = torch.autograd.grad(divergence, trial)
            direction = _unit(gradient)
        moves = (self.radius * direction, -self.radius * direction)
        up, down = (_average(_bernoulli_kl(clean, view.scores(real + move))) for move in moves)
        return torch.maximum(up, down)


def _unit(samples: Tensor) -> Tensor:
    """Returns every sample at length 1, or 0 where it is 0."""
    return unit_rows(samples.flatten(1)).view_as(samples)


def _bernoulli_kl(first: Tensor, second: Tensor) -> Tensor:
    """Returns the KL between two Bernoulli distributions given by logits, elementwise."""
    return first.sigmoid() * (logsigmoid(first) - logsigmoid(second)) + (-first).sigmoid() * (
        logsigmoid(-first) - logsigmoid(-second)
    )


@dataclass(frozen=True, kw_only=True)
class Consistency(Penalty):
    r"""The critic should score a sample and its augmented copy alike (CR; with `balanced` also fakes, bCR).

    $$(D(x)-D(T(x)))^2\quad[\;+\,(D(G(z))-D(T(G(z))))^2\;]$$

    $T$ flips images left to right, shifts them by whole pixels (mirrored at the border), and adds noise, each as its
    field says, drawn anew for every sample. Use it on images, beside spectral normalisation. Without `balanced` the
    generator may come to show the augmentation itself. It fails where an augmented sample is not a sample: flipped
    digits are no digits.

    Args:
        flip: flip half of the images left to right.
        shift: largest shift along each axis, pixels.
        deviation: standard deviation of added Gaussian noise in units of the data.
        balanced: take the fakes too.

    Raises:
        ValueError: a field is out of its range or all are off; in a call, samples to flip or shift are not images
            `(batch, channels, height, width)` larger than the shift.

    Example:
        >>> import torch
        >>> critic = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
        >>> real = torch.ones(2, 1, 8, 8)
        >>> Consistency()(critic, real, real, torch.Generator())
        tensor([0., 0.])

    Source: Zhang et al. 2020, section 2; balanced: Zhao et al. 2021, algorithm 1.
    """

    flip: bool = True
    shift: int = 4
    deviation: float = 0.0
    balanced: bool = False

    points: ClassVar[frozenset[str]] = frozenset({"real", "fake", "noise"})
    card: ClassVar[Card] = Card(
        name="consistency",
        aliases=("cr", "bcr"),
        formula={"discriminator": r"(D(x)-D(T(x)))^2\ [+(D(G(z))-D(T(G(z))))^2]"},
        minimised_by="The discriminator minimises it beside its loss.",
        when="On images, beside spectral normalisation; balanced when the augmentation leaks into the samples.",
        fails="An augmentation that leaves the data's distribution (a flipped digit) teaches the critic to be blind.",
        references=(
            Reference(
                authors="Zhang, Zhang, Odena, Lee",
                year=2020,
                title="Consistency Regularization for Generative Adversarial Networks",
                venue="ICLR",
                url="https://arxiv.org/abs/1910.12027",
                equation="section 2",
            ),
            Reference(
                authors="Zhao, Singh, Lee, Zhang, Odena, Zhang",
                year=2021,
                title="Improved Consistency Regularization for GANs",
                venue="AAAI",
                url="https://arxiv.org/abs/2002.04724",
                equation="algorithm 1",
            ),
        ),
        weight=10.0,
    )

    def __post_init__(self) -> None:
        true_or_false(flip=self.flip, balanced=self.balanced)
        at_least(0, shift=self.shift)
        not_negative(deviation=self.deviation)
        if not self.flip and self.shift == 0 and self.deviation == 0.0:
            raise ValueError("flip, shift and deviation are all off, so nothing is augmented; turn one on.")

    def _penalty(self, view: CriticView) -> Tensor:
        values = self._change(view, view.real)
        return values + self._change(view, view.fake) if self.balanced else values

    def _change(self, view: CriticView, samples: Tensor) -> Tensor:
        """Returns the squared change of the scores under the augmentation."""
        copies = self._augment(view, samples)
        return _average((view.scores(samples) - view.scores(copies)).square())

    def _augment(self, view: CriticView, samples: Tensor) -> Tensor:
        """Returns augmented copies, detached."""
        copies = view.jitter(samples, self.deviation) if self.deviation else at_least_float32(samples.detach())
        if not self.flip and self.shift == 0:
            return copies
        if copies.ndim != 4 or min(copies.shape[2:]) <= self.shift:
            raise ValueError(
                f"samples have shape {tuple(samples.shape)}, expected images (batch, channels, height, width) larger "
                f"than the shift of {self.shift} pixels; for other data set flip=False, shift=0 and a deviation."
            )
        if self.flip:
            copies = torch.where(view.uniform() < 0.5, copies.flip(3), copies)
        return _shift(copies, self.shift, view.rng) if self.shift else copies


def _shift(images: Tensor, most: int, rng: torch.Generator) -> Tensor:
    """Returns every image moved by its own whole number of pixels along both axes, mirrored at the border."""
    batch, _, height, width = images.shape
    padded = pad(images, (most, most, most, most), mode="reflect")
    random_stream(rng)
    start = torch.randint(0, 2 * most + 1, (2, batch, 1), generator=rng, device=rng.device).to(images.device)
    rows = start[0] + torch.arange(height, device=images.device)
    columns = start[1] + torch.arange(width, device=images.device)
    sample = torch.arange(batch, device=images.device)
    return padded.movedim(1, 3)[sample[:, None, None], rows[:, :, None], columns[:, None, :]].movedim(3, 1)


@dataclass(frozen=True, kw_only=True)
class LatentConsistency(Penalty):
    r"""The critic should score the fakes of two near latents alike (zCR); the generator should tell them apart.

    $$(D(G(z))-D(G(z+\delta)))^2,\qquad -\tfrac1d\lVert G(z)-G(z+\delta)\rVert_2^2,\qquad \delta\sim N(0,s^2I)$$

    `space` is `latents`: hand over the critic after the generator as `critic`, and the latents $z$ as both `real` and
    `fake`. The generator's half is the same term of the generator itself with a negative weight, 0.5 in the paper
    against the critic's 5. It is the mean over the $d$ numbers of a sample, as the critic's is over patches. The paper
    prints the norm without $\frac1d$; with it, as others compute it, the weight 0.5 adds at most 2 for images in
    [-1, 1] of any size, which is the scale of an adversarial loss; without it, thousands at 32x32 pixels. Use both
    halves beside balanced consistency, on images. The critic's half fails alone: the generator may become constant.

    Args:
        deviation: standard deviation $s$ of the perturbation, positive.

    Raises:
        ValueError: the deviation is not positive and finite.

    Example:
        >>> import torch
        >>> generator, critic = torch.nn.Linear(2, 3), torch.nn.Linear(3, 1)
        >>> z = torch.zeros(4, 2)
        >>> both = torch.nn.Sequential(generator, critic)
        >>> LatentConsistency()(both, z, z, torch.Generator()).shape
        torch.Size([4])

    Source: Zhao et al. 2021, algorithm 2.
    """

    deviation: float = 0.03

    points: ClassVar[frozenset[str]] = frozenset({"fake", "noise"})
    space: ClassVar[Literal["samples", "latents"]] = "latents"
    card: ClassVar[Card] = Card(
        name="latent_consistency",
        aliases=("zcr",),
        formula={
            "discriminator": r"(D(G(z))-D(G(z+\delta)))^2,\ \delta\sim N(0,s^2I)",
            "generator": r"-\tfrac1d\lVert G(z)-G(z+\delta)\rVert_2^2,\ d\text{ numbers a sample}",
        },
        minimised_by="The discriminator minimises it beside its loss; the generator maximises the same change of its "
        "own output.",
        when="Beside balanced consistency, on images; weight 0.5 for the generator's half.",
        fails="The critic's half alone rewards a constant generator.",
        references=(
            Reference(
                authors="Zhao, Singh, Lee, Zhang, Odena, Zhang",
                year=2021,
                title="Improved Consistency Regularization for GANs",
                venue="AAAI",
                url="https://arxiv.org/abs/2002.04724",
                equation="algorithm 2",
            ),
        ),
        weight=5.0,
    )

    def __post_init__(self) -> None:
        positive(deviation=self.deviation)

    def _penalty(self, view: CriticView) -> Tensor:
        change = view.scores(view.fake) - view.scores(view.jitter(view.fake, self.deviation))
        return _average(change.square())
