"""Attention against its formulas, and what padding may not change."""

import math

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from genloss.errors import InputError
from genloss.losses import AttentionEntropy, Coverage
from genloss.networks import (
    AdditiveAttention,
    AttentionalState,
    BilinearAttention,
    DotProductAttention,
    GatedUpdate,
)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def attentions(size=3):
    torch.manual_seed(0)
    return [DotProductAttention(), BilinearAttention(size, size).double(), AdditiveAttention(size, size, 4).double()]


MASK = torch.tensor([[True, True, True, True], [True, True, False, False]])


@pytest.mark.parametrize("attention", attentions(), ids=lambda layer: type(layer).__name__)
def test_weights_are_probabilities_over_what_counts(attention):
    queries, keys = normal(2, 5, 3), normal(2, 4, 3, seed=1)
    weights = attention(queries, keys, MASK)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 5).double())
    assert weights[1, :, 2:].abs().max() == 0.0
    garbage = keys.clone()
    garbage[1, 2:] = 1e4
    assert torch.equal(attention(queries, garbage, MASK), weights)
    assert torch.equal(attention(queries, keys, torch.zeros_like(MASK)), torch.zeros(2, 5, 4).double())
    targets = torch.ones(2, 5, dtype=torch.bool)
    for penalty in (AttentionEntropy(), Coverage()):
        assert penalty(weights, MASK, targets).isfinite().all()


def test_dot_products_equal_torch():
    queries, keys, values = normal(2, 5, 3), normal(2, 4, 3, seed=1), normal(2, 4, 6, seed=2)
    wanted = scaled_dot_product_attention(queries, keys, values, attn_mask=MASK.unsqueeze(1))
    torch.testing.assert_close(DotProductAttention()(queries, keys, MASK) @ values, wanted)


def test_learned_scores_equal_their_formulas():
    queries, keys = normal(1, 2, 3), normal(1, 2, 4, seed=1)
    mask = torch.ones(1, 2, dtype=torch.bool)
    bilinear, additive = BilinearAttention(3, 4).double(), AdditiveAttention(3, 4, 5).double()
    for t in range(2):
        q = queries[0, t]
        products = torch.stack([(bilinear.product.weight @ q) @ k for k in keys[0]])
        torch.testing.assert_close(bilinear(queries, keys, mask)[0, t], products.softmax(0))
        v, w_q, w_k = additive.score.weight[0], additive.query.weight, additive.key.weight
        sums = torch.stack([v @ (w_q @ q + w_k @ k).tanh() for k in keys[0]])
        torch.testing.assert_close(additive(queries, keys, mask)[0, t], sums.softmax(0))


def test_states_equal_their_formulas():
    state, last, values = normal(1, 1, 3), normal(1, 1, 3, seed=1), normal(1, 4, 2, seed=2)
    weights = normal(1, 1, 4, seed=3).softmax(-1)
    both = torch.cat((state[0, 0], weights[0, 0] @ values[0]))
    attentional, update = AttentionalState(3, 2).double(), GatedUpdate(3, 2).double()
    torch.testing.assert_close(attentional(state, weights, values)[0, 0], (attentional.mix.weight @ both).tanh())
    gate = (update.gate.weight @ both + update.gate.bias).sigmoid()
    wanted = last[0, 0] * (1.0 - gate) + update.attentional(state, weights, values)[0, 0]
    torch.testing.assert_close(update(last, state, weights, values)[0, 0], wanted)


def test_scores_keep_unit_variance_whatever_the_size():
    queries, keys = normal(1, 200, 256), normal(1, 200, 256, seed=1)
    assert DotProductAttention()._scores(queries, keys).std().item() == pytest.approx(1.0, abs=0.05)
    assert math.isfinite(DotProductAttention()(1e4 * queries, keys, torch.ones(1, 200, dtype=torch.bool)).sum().item())


def test_what_does_not_fit_is_a_sentence():
    queries, keys, mask = torch.zeros(2, 5, 3), torch.zeros(2, 4, 3), torch.ones(2, 4, dtype=torch.bool)
    with pytest.raises(InputError, match=r"expected \(batch, target, features\)"):
        DotProductAttention()(queries, keys, mask[:1])
    with pytest.raises(InputError, match=r"dtype torch.float32, expected torch.bool"):
        DotProductAttention()(queries, keys, mask.float())
    with pytest.raises(InputError, match="received 3 and 2; take BilinearAttention"):
        DotProductAttention()(queries, keys[:, :, :2], mask)
    with pytest.raises(InputError, match="query_size"):
        BilinearAttention(0, 3)


@pytest.mark.parametrize("attention", attentions(), ids=lambda layer: type(layer).__name__)
def test_what_stands_in_padding_has_no_gradient(attention):
    queries, keys = normal(2, 5, 3).requires_grad_(), normal(2, 4, 3, seed=1)
    keys[1, 2:] = float("nan")
    (gradient,) = torch.autograd.grad(attention(queries, keys, MASK).square().sum(), queries)
    assert gradient.isfinite().all()


def test_a_value_that_nobody_looks_at_counts_nothing():
    torch.manual_seed(0)
    state, weights, values = normal(2, 1, 3), torch.zeros(2, 1, 4).double(), normal(2, 4, 5)
    weights[:, :, 0] = 1.0
    values[:, 3] = float("nan")
    assert AttentionalState(3, 5).double()(state, weights, values).isfinite().all()
    assert GatedUpdate(3, 5).double()(state, state, weights, values).isfinite().all()


def test_nothing_broadcasts():
    state, weights, values = torch.zeros(2, 1, 3), torch.zeros(2, 1, 4), torch.zeros(2, 4, 5)
    for wrong in ((state[:1], weights, values), (state, weights[:1], values), (state, weights, values[:, :3])):
        with pytest.raises(InputError, match=r"expected \(batch, target, state\)"):
            AttentionalState(3, 5)(*wrong)
    with pytest.raises(InputError, match=r"the last state has shape \(3,\)"):
        GatedUpdate(3, 5)(state[0, 0], state, weights, values)
    mask = torch.ones(2, 4, dtype=torch.bool)
    for attention in (BilinearAttention(3, 5), AdditiveAttention(3, 5, 2)):
        with pytest.raises(InputError, match="queries have 3 and keys 4 features, expected 3 and 5"):
            attention(state, torch.zeros(2, 4, 4), mask)
    with pytest.raises(InputError, match=r"queries are torch.int64 .*expected floating"):
        DotProductAttention()(state.long(), torch.zeros(2, 4, 3), mask)
