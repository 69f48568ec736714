"""The restricted Boltzmann machine: an energy with hidden units, small ones with their exact normaliser."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from genloss.errors import InputError
from genloss.networks.base import check_shape, check_size

__all__ = ["RBM"]

_MOST_UNITS = 20  # of the enumerated layer: a million states
_STATES_AT_ONCE = 1 << 12


class RBM(nn.Module):
    r"""A restricted Boltzmann machine with binary units: two layers, independent given each other.

    $$E(v,h)=-b^\top v-c^\top h-v^\top Wh,\qquad p(v)=\frac1Z\sum_he^{-E(v,h)}=\frac1Ze^{-F(v)}$$

    Calling it returns the free energy $F$, so that every energy loss can train it; `ContrastiveDivergence` with the
    `Gibbs` sampler is the usual one. Use it for binary data (binarised digits, click tables), and small ones to check
    an estimator against the exact likelihood. It fails on large images, where block Gibbs chains mix slowly, and on
    values that are not binary. Weights start as small normal noise from torch's global generator, biases at 0; set
    `visible_bias` to the log-odds of the data for a faster start.

    Args:
        shape: shape of one sample, without the batch.
        hidden: number of hidden units, at least 1.

    Raises:
        InputError: a size below 1; in a call, samples or hidden units of another shape or dtype than the weights.

    Example:
        >>> machine = RBM((2, 2), hidden=3)
        >>> _ = nn.init.zeros_(machine.weight)
        >>> machine.log_prob(torch.zeros(1, 2, 2)).exp().item()
        0.0625
        >>> machine.sample_visible(torch.ones(5, 3), torch.Generator().manual_seed(0)).shape
        torch.Size([5, 2, 2])

    Source: Smolensky 1986; Hinton 2012, "A Practical Guide to Training Restricted Boltzmann Machines", equations 1, 7
    and 8 and section 16.1 (free energy), section 8 (initial weights).
    """

    def __init__(self, shape: tuple[int, ...], hidden: int) -> None:
        super().__init__()
        check_shape(shape)
        check_size(hidden=hidden)
        self.shape = tuple(shape)
        self.weight = nn.Parameter(0.01 * torch.randn(math.prod(shape), hidden))
        self.visible_bias = nn.Parameter(torch.zeros(math.prod(shape)))
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))

    def forward(self, visible: Tensor) -> Tensor:
        r"""Returns the free energy $F(v)=-b^\top v-\sum_j\zeta(c_j+W_j^\top v)$.

        Args:
            visible: `(batch, *shape)`, floating, 0 or 1.

        Returns:
            `(batch,)`, nats.
        """
        return _free_energy(self._flat(visible), self.visible_bias, self.weight, self.hidden_bias)

    def energy(self, visible: Tensor, hidden: Tensor) -> Tensor:
        """Returns the energy of joint states, visible `(batch, *shape)` and hidden `(batch, hidden)`: `(batch,)`."""
        flat = self._flat(visible)
        self._check_hidden(hidden)
        if len(flat) != len(hidden):
            raise InputError(f"there are {len(flat)} visible and {len(hidden)} hidden states, expected as many.")
        with _exact(flat):
            on_hidden = ((flat @ self.weight + self.hidden_bias) * hidden).sum(1)
            joint: Tensor = -(flat @ self.visible_bias) - on_hidden
        return joint

    def hidden_probabilities(self, visible: Tensor) -> Tensor:
        r"""Returns $p(h_j=1|v)=\sigma(c_j+W_j^\top v)$, `(batch, hidden)`."""
        flat = self._flat(visible)
        with _exact(flat):
            return (flat @ self.weight + self.hidden_bias).sigmoid()

    def visible_probabilities(self, hidden: Tensor) -> Tensor:
        r"""Returns $p(v_i=1|h)=\sigma(b_i+W_ih)$, `(batch, *shape)`."""
        self._check_hidden(hidden)
        with _exact(hidden):
            return (hidden @ self.weight.mT + self.visible_bias).sigmoid().reshape(len(hidden), *self.shape)

    def sample_hidden(self, visible: Tensor, rng: torch.Generator) -> Tensor:
        """Draws the hidden units given the visible ones, `(batch, hidden)`."""
        return torch.bernoulli(self.hidden_probabilities(visible), generator=rng)

    def sample_visible(self, hidden: Tensor, rng: torch.Generator) -> Tensor:
        """Draws the visible units given the hidden ones, `(batch, *shape)`."""
        return torch.bernoulli(self.visible_probabilities(hidden), generator=rng)

    def log_normaliser(self) -> Tensor:
        """Returns log Z, exact, by enumerating the smaller layer; differentiable.

        Time and, with a gradient, memory double with every unit of that layer.

        Returns:
            `()`, nats.

        Raises:
            InputError: both layers have more than 20 units.
        """
        visible, hidden = self.weight.shape
        if min(visible, hidden) > _MOST_UNITS:
            raise InputError(
                f"the exact normaliser sums over all states of the smaller layer and got {visible} visible and "
                f"{hidden} hidden units, expected at most {_MOST_UNITS} in one of them; use a smaller machine."
            )
        layers: tuple[Tensor, Tensor, Tensor] = (self.visible_bias, self.weight, self.hidden_bias)
        if visible > hidden:  # the free energy of the hidden units has the roles exchanged
            layers = (self.hidden_bias, self.weight.mT, self.visible_bias)
        units = len(layers[0])
        sums = []
        for chunk in torch.arange(2**units, device=self.weight.device).split(_STATES_AT_ONCE):
            states = (chunk[:, None] >> torch.arange(units, device=chunk.device)) & 1
            sums.append((-_free_energy(states.to(self.weight.dtype), *layers)).logsumexp(0))
        return torch.stack(sums).logsumexp(0)

    def log_prob(self, visible: Tensor) -> Tensor:
        """Returns the exact log-probability of binary samples `(batch, *shape)`, `(batch,)`; for small machines."""
        log_probability: Tensor = -self(visible) - self.log_normaliser()
        return log_probability

    def _flat(self, visible: Tensor) -> Tensor:
        if tuple(visible.shape[1:]) != self.shape or visible.ndim == 0:
            raise InputError(
                f"visible units have shape {tuple(visible.shape)}, expected (batch, "
                f"{', '.join(map(str, self.shape))}); make the machine with the shape of the data."
            )
        self._check_dtype("visible", visible)
        return visible.flatten(1)

    def _check_hidden(self, hidden: Tensor) -> None:
        units = len(self.hidden_bias)
        if hidden.ndim != 2 or hidden.shape[1] != units:
            raise InputError(f"hidden units have shape {tuple(hidden.shape)}, expected (batch, {units}).")
        self._check_dtype("hidden", hidden)

    def _check_dtype(self, name: str, units: Tensor) -> None:
        if units.dtype != self.weight.dtype:
            raise InputError(
                f"{name} units are {units.dtype} and the weights {self.weight.dtype}, expected one dtype; convert one "
                "with .to(...)."
            )


def _free_energy(states: Tensor, bias: Tensor, weight: Tensor, other_bias: Tensor) -> Tensor:
    """Returns the energy of one layer's states `(n, units)` with the other layer summed out, `(n,)`."""
    with _exact(states):
        return -(states @ bias) - softplus(states @ weight + other_bias).sum(1)


def _exact(states: Tensor) -> torch.autocast:
    """Returns the context in which sums keep their digits: half precision would round energies and the normaliser."""
    return torch.autocast(states.device.type, enabled=False)
