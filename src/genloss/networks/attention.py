"""Attention: which positions of a source each position of a target looks at, and what it takes from them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from genloss.errors import InputError
from genloss.networks.base import check_size

__all__ = [
    "AdditiveAttention",
    "Attention",
    "AttentionalState",
    "BilinearAttention",
    "DotProductAttention",
    "GatedUpdate",
]


class Attention(nn.Module, ABC):
    """Weights over a source for each position of a target. A subclass writes `_scores`.

    Multiplied with the values of the source, `weights @ values`, they give the context of each target position.
    """

    def forward(self, queries: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        """Returns the weights `(batch, target, source)`, which sum to 1 over the source positions that count.

        Args:
            queries: `(batch, target, query features)`, floating.
            keys: `(batch, source, key features)`, floating.
            mask: `(batch, source)`, bool, true where a position counts; where none does all weights are 0.

        Raises:
            InputError: shapes do not fit, queries or keys are not floating, or the mask is not bool.
        """
        if queries.ndim != 3 or keys.ndim != 3 or len(queries) != len(keys) or mask.shape != keys.shape[:2]:
            raise InputError(
                f"attention was given queries {tuple(queries.shape)}, keys {tuple(keys.shape)} and a mask "
                f"{tuple(mask.shape)}, expected (batch, target, features), (batch, source, features), (batch, source)."
            )
        if mask.dtype != torch.bool:
            raise InputError(f"the mask has dtype {mask.dtype}, expected torch.bool; convert it with .bool().")
        if not queries.is_floating_point() or not keys.is_floating_point():
            raise InputError(f"queries are {queries.dtype} and keys {keys.dtype}, expected floating; use .float().")
        hidden = ~mask.unsqueeze(1)
        # Whatever stands in padding, NaN too, has no gradient.
        scores = self._scores(queries, keys.masked_fill(~mask.unsqueeze(2), 0.0))
        # The lowest finite number, since a row of minus infinity alone would be NaN.
        scores = scores.masked_fill(hidden, torch.finfo(scores.dtype).min)
        return scores.softmax(-1).masked_fill(hidden, 0.0)

    @abstractmethod
    def _scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Returns how well each key fits each query, `(batch, target, source)`, unbounded."""


def _check_features(queries: Tensor, keys: Tensor, sizes: tuple[int, int]) -> None:
    """Raises InputError unless queries and keys have the features that a layer was made for."""
    if (queries.shape[-1], keys.shape[-1]) != sizes:
        raise InputError(
            f"queries have {queries.shape[-1]} and keys {keys.shape[-1]} features, expected {sizes[0]} and {sizes[1]}, "
            "for which the attention was made."
        )


class DotProductAttention(Attention):
    r"""Scaled dot products, $a_t=\mathrm{softmax}(QK^\top/\sqrt{d_k})$.

    Without parameters: queries and keys must share a space. The root keeps the scores of independent features of unit
    variance at unit variance, whatever their number.

    Example:
        >>> keys = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
        >>> DotProductAttention()(1e3 * keys, keys, torch.ones(1, 2, dtype=torch.bool))
        tensor([[[1., 0.],
                 [0., 1.]]])

    Source: Vaswani et al. 2017, equation 1.
    """

    def _scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        if queries.shape[-1] != keys.shape[-1]:
            raise InputError(
                f"dot products need queries and keys of as many features, received {queries.shape[-1]} and "
                f"{keys.shape[-1]}; take BilinearAttention, or project one of them."
            )
        return queries @ keys.mT / math.sqrt(keys.shape[-1])


class BilinearAttention(Attention):
    r"""A learned product, $q^\top Wk$: queries and keys may differ in size.

    Args:
        query_size: features of a query, at least 1.
        key_size: features of a key, at least 1.

    Raises:
        InputError: a size below 1.

    Example:
        >>> mask = torch.ones(2, 4, dtype=torch.bool)
        >>> BilinearAttention(3, 5)(torch.zeros(2, 6, 3), torch.zeros(2, 4, 5), mask).shape
        torch.Size([2, 6, 4])

    Source: Luong, Pham & Manning 2015, section 3.1 (general).
    """

    def __init__(self, query_size: int, key_size: int) -> None:
        super().__init__()
        check_size(query_size=query_size, key_size=key_size)
        self.product = nn.Linear(query_size, key_size, bias=False)

    def _scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        _check_features(queries, keys, (self.product.in_features, self.product.out_features))
        scores: Tensor = self.product(queries) @ keys.mT
        return scores


class AdditiveAttention(Attention):
    r"""A small perceptron, $v^\top\tanh(W_qq+W_kk)$. Memory grows with target times source times `size`.

    Args:
        query_size: features of a query, at least 1.
        key_size: features of a key, at least 1.
        size: hidden units, at least 1.

    Raises:
        InputError: a size below 1.

    Example:
        >>> mask = torch.ones(2, 4, dtype=torch.bool)
        >>> AdditiveAttention(3, 5, size=8)(torch.zeros(2, 6, 3), torch.zeros(2, 4, 5), mask).shape
        torch.Size([2, 6, 4])

    Source: Bahdanau, Cho & Bengio 2015, appendix A.1.2.
    """

    def __init__(self, query_size: int, key_size: int, size: int) -> None:
        super().__init__()
        check_size(query_size=query_size, key_size=key_size, size=size)
        self.query = nn.Linear(query_size, size, bias=False)
        self.key = nn.Linear(key_size, size, bias=False)
        self.score = nn.Linear(size, 1, bias=False)

    def _scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        _check_features(queries, keys, (self.query.in_features, self.key.in_features))
        scores: Tensor = self.score((self.query(queries).unsqueeze(2) + self.key(keys).unsqueeze(1)).tanh())
        return scores.squeeze(-1)


class AttentionalState(nn.Module):
    r"""What a decoder goes on with once it has looked: $c_t=\tanh(W_c[h_t;a_tV])$.

    Args:
        state_size: features of the decoder's state $h_t$, at least 1.
        value_size: features of a value $V$ of the source, at least 1.

    Raises:
        InputError: a size below 1.

    Example:
        >>> AttentionalState(3, 5)(torch.zeros(2, 6, 3), torch.zeros(2, 6, 4), torch.zeros(2, 4, 5)).shape
        torch.Size([2, 6, 3])

    Source: Luong, Pham & Manning 2015, equation 5.
    """

    def __init__(self, state_size: int, value_size: int) -> None:
        super().__init__()
        check_size(state_size=state_size, value_size=value_size)
        self.mix = nn.Linear(state_size + value_size, state_size, bias=False)

    def forward(self, state: Tensor, weights: Tensor, values: Tensor) -> Tensor:
        """Returns `(batch, target, state)` of such states, weights, and values `(batch, source, value features)`.

        Raises:
            InputError: shapes do not fit.
        """
        mixed: Tensor = self.mix(_with_context(state, weights, values))
        return mixed.tanh()


def _with_context(state: Tensor, weights: Tensor, values: Tensor) -> Tensor:
    """Joins states and what they look at; a value that nobody looks at, such as padding, has no part in it."""
    fits = state.ndim == weights.ndim == values.ndim == 3 and state.shape[:2] == weights.shape[:2]
    if not fits or (weights.shape[0], weights.shape[2]) != values.shape[:2]:
        raise InputError(
            f"the state has shape {tuple(state.shape)}, weights {tuple(weights.shape)} and values "
            f"{tuple(values.shape)}, expected (batch, target, state), (batch, target, source), (batch, source, size)."
        )
    unseen = (weights == 0.0).all(1)
    return torch.cat((state, weights @ values.masked_fill(unseen.unsqueeze(2), 0.0)), dim=-1)


class GatedUpdate(nn.Module):
    r"""Keeps of the last state what the gate leaves: $h_t'=h_{t-1}\odot(1-g_t)+c_t$, $g_t=\sigma(W_g[h_t;a_tV]+b_g)$.

    $c_t$ is the attentional state; it enters whole, so that the state is not a mean of both.

    Args:
        state_size: features of the decoder's state, at least 1.
        value_size: features of a value of the source, at least 1.

    Raises:
        InputError: a size below 1.

    Example:
        >>> update = GatedUpdate(3, 5)
        >>> state, weights, values = torch.zeros(2, 1, 3), torch.zeros(2, 1, 4), torch.zeros(2, 4, 5)
        >>> update(torch.ones(2, 1, 3), state, weights, values).shape
        torch.Size([2, 1, 3])
    """

    def __init__(self, state_size: int, value_size: int) -> None:
        super().__init__()
        self.attentional = AttentionalState(state_size, value_size)
        self.gate = nn.Linear(state_size + value_size, state_size)

    def forward(self, last_state: Tensor, state: Tensor, weights: Tensor, values: Tensor) -> Tensor:
        """Returns the new state, `(batch, target, state)`, of the last one, the one under way, weights and values.

        Raises:
            InputError: shapes do not fit.
        """
        if last_state.shape != state.shape:
            raise InputError(
                f"the last state has shape {tuple(last_state.shape)} and the one under way {tuple(state.shape)}, "
                "expected equal shapes (nothing broadcasts)."
            )
        gate: Tensor = self.gate(_with_context(state, weights, values))
        new: Tensor = last_state * (1.0 - gate.sigmoid()) + self.attentional(state, weights, values)
        return new
