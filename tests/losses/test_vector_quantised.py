"""Nearest codes, straight-through gradients, and the codebook's two ways to learn."""

import math

import pytest
import torch

from genloss.losses import VectorQuantised


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64)


def test_codes_are_the_nearest():
    latents, codebook = normal(5, 4, 3), normal(7, 3, seed=1)
    found = VectorQuantised().quantise(latents, codebook)
    expected = torch.cdist(latents.flatten(0, 1), codebook).argmin(1).reshape(5, 4)
    assert torch.equal(found.indices, expected)
    torch.testing.assert_close(found.codes, codebook[expected])
    far = VectorQuantised().quantise(latents.float() + 1000.0, codebook.float() + 1000.0)
    assert (far.indices == expected).double().mean() > 0.9


def test_each_gradient_goes_where_the_formula_says():
    latents, codebook = normal(5, 4, 3).requires_grad_(), normal(7, 3, seed=1).requires_grad_()
    loss = VectorQuantised(commitment=0.25)
    found = loss.quantise(latents, codebook)
    weights = normal(5, 4, 3, seed=2)
    log_likelihood = (found.codes * weights).sum((1, 2))
    terms = loss(latents, found, log_likelihood, codes=7)
    on_latents, on_codes = torch.autograd.grad(terms.surrogate.sum(), (latents, codebook))
    difference = (latents - found.nearest).detach()
    torch.testing.assert_close(on_latents, -weights + 0.25 * 2.0 * difference)  # straight through, and commitment
    expected = torch.zeros_like(codebook).index_add_(0, found.indices.flatten(), -2.0 * difference.flatten(0, 1))
    torch.testing.assert_close(on_codes, expected)
    torch.testing.assert_close(terms.bound, log_likelihood - 4 * math.log(7))


def test_a_moving_average_takes_the_place_of_the_codebook_term():
    latents, codebook = normal(50, 3), normal(2, 3, seed=1)
    loss = VectorQuantised(decay=0.5)
    state = loss.init_state(codebook)
    found = loss.quantise(latents, state["codebook"])
    terms = loss(latents, found, torch.zeros(50).double(), codes=2)
    torch.testing.assert_close(terms.surrogate, 0.25 * terms.parts["commitment"])
    for _ in range(60):
        state = loss.next_state(state, latents, found.indices)
    means = torch.stack([latents[found.indices == code].mean(0) for code in range(2)])
    torch.testing.assert_close(state["codebook"], means, rtol=1e-3, atol=1e-4)
    assert VectorQuantised().init_state(codebook) == {}
    assert VectorQuantised().next_state({}, latents, found.indices) == {}


def test_one_update_of_the_moving_average_is_as_the_paper_says():
    loss, codebook = VectorQuantised(decay=0.9), torch.zeros(1, 1).double()
    state = loss.next_state(loss.init_state(codebook), torch.tensor([[2.0], [4.0]]).double(), torch.tensor([0, 0]))
    # N = 0.9 * 1 + 0.1 * 2, m = 0.9 * 0 + 0.1 * 6; one code alone is not smoothed.
    assert state["codebook"].item() == pytest.approx(0.6 / 1.1)


def test_perplexity_counts_the_codes_in_use():
    assert VectorQuantised.perplexity(torch.tensor([0, 1, 2, 3]), 8).item() == pytest.approx(4.0)
    assert VectorQuantised.perplexity(torch.tensor([5, 5]), 8).item() == pytest.approx(1.0)


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match="dim"):
        VectorQuantised().quantise(torch.zeros(2, 3), torch.zeros(4, 2))
    with pytest.raises(ValueError, match="commitment"):
        VectorQuantised(commitment=-1.0)
    with pytest.raises(ValueError, match="decay"):
        VectorQuantised(decay=1.0)
    latents = torch.zeros(2, 3)
    found = VectorQuantised().quantise(latents, torch.zeros(4, 3))
    with pytest.raises(ValueError, match="do not fit"):
        VectorQuantised()(latents, found, torch.zeros(3), codes=4)
