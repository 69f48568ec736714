"""A critic some gradient steps ahead, as a function that its opponent can differentiate through."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call

from genloss.errors import InputError

__all__ = ["Unrolling", "unrolled"]

CriticLoss = Callable[[Callable[[Tensor], Tensor], Mapping[str, Tensor]], Tensor]
"""From a critic and its parameters by name to the scalar that it minimises."""


@dataclass(frozen=True)
class Unrolling:
    r"""How far ahead a generator looks at its opponent.

    $$\theta_{i+1}=\theta_i-\eta\,\nabla_\theta L_D(\theta_i,\phi),\quad i=0,\dots,k-1$$

    The generator minimises $L_G(\theta_k,\phi)$ with the gradient through all steps; the critic itself then moves once,
    as ever. Use it where the generator runs from mode to mode. It fails with a rate so small that nothing changes, and
    every step costs a forward and a backward pass more.

    Args:
        steps: $k$, at least 1.
        rate: $\eta$, the learning rate of the plain gradient steps, positive.

    Raises:
        InputError: a number is out of its range.

    Source: Metz et al. 2017, equations 7 to 10.
    """

    steps: int
    rate: float

    def __post_init__(self) -> None:
        if self.steps < 1 or not 0.0 < self.rate < float("inf"):
            raise InputError(f"steps is {self.steps} and rate {self.rate}, expected at least 1 and a positive number.")


def unrolled(critic: nn.Module, loss: CriticLoss, unrolling: Unrolling) -> Callable[[Tensor], Tensor]:
    """Returns the critic as it would be after some gradient steps on its loss; the critic itself does not move.

    Args:
        critic: maps samples to scores.
        loss: what it minimises. Its dependence on generated samples is what the opponent differentiates.
        unrolling: number and size of the steps.

    Returns:
        A function of samples, differentiable in whatever the loss depends on.
    """
    parameters = {name: p.detach().requires_grad_() for name, p in critic.named_parameters()}
    for _ in range(unrolling.steps):
        value = loss(partial(_call, critic, parameters), parameters)
        gradients = torch.autograd.grad(value, tuple(parameters.values()), create_graph=True, materialize_grads=True)
        moved = (p - unrolling.rate * gradient for p, gradient in zip(parameters.values(), gradients, strict=True))
        parameters = dict(zip(parameters, moved, strict=True))
    return partial(_call, critic, parameters)


def _call(critic: nn.Module, parameters: dict[str, Tensor], x: Tensor) -> Tensor:
    scores: Tensor = functional_call(critic, parameters, (x,))
    return scores
