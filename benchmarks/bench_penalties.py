"""What a gradient penalty and an adversarial loss cost over the same lines written by hand."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from functools import partial

import torch
from _report import arguments, interleave, table, write_section
from torch import Tensor, nn
from torch.nn.functional import relu, softplus

from genloss.losses import R1, AdversarialLoss, GradientPenalty, Hinge, LeastSquares, NonSaturating, Wasserstein
from genloss.losses.penalties import Penalty
from genloss.networks import DCGAN, MLP, Architecture

Step = Callable[[], object]
CRITICS: dict[str, tuple[Architecture, tuple[int, ...], int, int]] = {  # network, shape, batch, calls of a timed run
    "perceptron 2-128-128-128-1": (MLP(activation="silu"), (2,), 256, 40),
    "perceptron 784-128-128-128-1": (MLP(activation="silu"), (784,), 64, 40),
    "DCGAN, 1x32x32": (DCGAN(width=32), (1, 32, 32), 16, 4),
}
SCORES = 64
CALLS = 500  # of an adversarial loss, in a timed run


def main() -> None:
    """Times penalties with their backward pass, then losses of scores alone."""
    options = arguments(main.__doc__ or "", rounds=25)
    penalties = [row for name in CRITICS for row in _penalty_rows(name, options)]
    text = (
        "Penalty, its mean, and the backward pass to the critic's parameters, in float32; the hand-written side is the "
        "usual dozen lines of torch, without checks. Goal: at most 1.1, with the whole interval.\n\n"
    )
    text += table(("critic", "penalty", "times the time by hand, wall", "CPU time"), penalties)
    text += (
        f"\n\nAdversarial losses of {SCORES} scores, a value for each sample and no mean, forward only, against one "
        "line of torch; the fastest of all runs. What they add is the check of shapes, dtypes, devices and graph, "
        "whatever the number of scores, and the weights and targets that they have as fields.\n\n"
    )
    text += table(("loss", "player", "by hand, µs", "genloss, µs", "difference, µs"), _loss_rows(options))
    write_section("Penalties and adversarial losses against hand-written ones", text, options)


def _penalty_rows(name: str, options: Namespace) -> list[tuple[object, ...]]:
    architecture, shape, batch, calls = CRITICS[name]
    torch.manual_seed(options.seed)
    critic = architecture.critic(shape).to(options.device)
    rng = torch.Generator(options.device).manual_seed(options.seed)
    real, fake = (torch.randn(batch, *shape, generator=rng, device=options.device) for _ in range(2))
    by_hand: dict[str, tuple[Penalty, Callable[[], Tensor]]] = {
        "gradient penalty": (GradientPenalty(), lambda: gradient_penalty(critic, real, fake, rng)),
        "R1": (R1(), lambda: r1(critic, real)),
    }
    rows = []
    for title, (penalty, other) in by_hand.items():
        sides = {
            "by hand": _trained(critic, other, calls),
            "genloss": _trained(critic, partial(penalty, critic, real, fake, rng), calls),
        }
        timings = interleave(sides, options.rounds, options.device)
        rows.append((name, title, *(timings.ratio("genloss", "by hand", cpu=cpu) for cpu in (False, True))))
    return rows


def gradient_penalty(critic: nn.Module, real: Tensor, fake: Tensor, rng: torch.Generator) -> Tensor:
    """The two-sided penalty of WGAN-GP as most people write it."""
    epsilon = torch.rand(len(real), *[1] * (real.ndim - 1), generator=rng, device=real.device)
    points = (epsilon * real + (1.0 - epsilon) * fake).requires_grad_()
    scores = critic(points)
    (gradient,) = torch.autograd.grad(scores, points, torch.ones_like(scores), create_graph=True)
    penalty: Tensor = (gradient.flatten(1).norm(2, dim=1) - 1.0).square()
    return penalty


def r1(critic: nn.Module, real: Tensor) -> Tensor:
    """R1 as most people write it."""
    points = real.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(points).sum(), points, create_graph=True)
    return 0.5 * gradient.square().flatten(1).sum(1)


def _trained(critic: nn.Module, penalty: Callable[[], Tensor], calls: int) -> Callable[[], None]:
    def run() -> None:
        for _ in range(calls):
            critic.zero_grad()
            penalty().mean().backward()

    return run


def _loss_rows(options: Namespace) -> list[tuple[object, ...]]:
    rng = torch.Generator(options.device).manual_seed(options.seed)
    real, fake = (torch.randn(SCORES, generator=rng, device=options.device).requires_grad_() for _ in range(2))
    cases: list[tuple[AdversarialLoss, Step, Step]] = [
        (NonSaturating(), lambda: softplus(-real) + softplus(fake), lambda: softplus(-fake)),
        (Wasserstein(), lambda: fake - real, lambda: -fake),
        (Hinge(), lambda: relu(1.0 - real) + relu(1.0 + fake), lambda: -fake),
        (LeastSquares(), lambda: 0.5 * ((real - 1.0).square() + fake.square()), lambda: 0.5 * (fake - 1.0).square()),
    ]
    rows: list[tuple[object, ...]] = []
    for loss, critic, generator in cases:
        ours: dict[str, tuple[Step, Step]] = {
            "discriminator": (critic, partial(loss.discriminator, real, fake)),
            "generator": (generator, partial(loss.generator, fake)),
        }
        for player, (by_hand, own) in ours.items():
            sides = {"by hand": _often(by_hand), "genloss": _often(own)}
            timings = interleave(sides, options.rounds, options.device)
            hand, mine = (min(timings.wall[side]) / CALLS * 1e6 for side in sides)
            rows.append((loss.card.name, player, f"{hand:.1f}", f"{mine:.1f}", f"{mine - hand:.1f}"))
    return rows


def _often(step: Step) -> Callable[[], None]:
    def run() -> None:
        for _ in range(CALLS):
            step()

    return run


if __name__ == "__main__":
    main()
