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
    # N = 0.9 * 1 + 0.1 * 2, m = 0.9 * 0 + 0.1 * 6
    assert state["codebook"].item() == pytest.approx(0.6 / 1.1)


def test_the_moving_average_is_the_weighted_mean_of_all_members():
    loss, codebook = VectorQuantised(decay=0.8), normal(3, 2, seed=1)
    state, weight, total = loss.init_state(codebook), torch.ones(3).double(), codebook.clone()
    for step in range(20):
        latents = normal(4, 2, seed=step)
        indices = torch.randint(0, 3, (4,), generator=rng(step))
        state = loss.next_state(state, latents, indices)
        members = torch.nn.functional.one_hot(indices, 3).double()
        weight, total = 0.8 * weight + 0.2 * members.sum(0), 0.8 * total + 0.2 * members.T @ latents
        torch.testing.assert_close(state["codebook"], total / weight[:, None], rtol=1e-12, atol=0)


def test_a_code_without_members_stays_where_it_is_and_follows_its_next_ones():
    loss = VectorQuantised(decay=0.9)
    state = loss.init_state(torch.tensor([[0.0, 0.0], [100.0, -100.0]]))
    for _ in range(2000):  # 0.9 ** 2000 rounds to 0 in float32
        state = loss.next_state(state, torch.zeros(4, 2), torch.zeros(4, dtype=torch.long))
    assert state["codebook"].tolist() == [[0.0, 0.0], [100.0, -100.0]]
    state = loss.next_state(state, torch.tensor([[90.0, -80.0]]), torch.tensor([1]))
    torch.testing.assert_close(state["codebook"][1], torch.tensor([90.0, -80.0]))


def test_a_latent_that_is_no_number_takes_no_code():
    latents = normal(3, 2).index_fill(0, torch.tensor([1]), math.nan)
    loss, codebook = VectorQuantised(decay=0.9), normal(4, 2, seed=1)
    found = loss.quantise(latents, codebook)
    for values in (found.codes, found.nearest):
        assert values.isnan().all(1).tolist() == [False, True, False]
    terms = loss(latents, found, torch.zeros(3).double(), codes=4)
    assert terms.surrogate.isnan().tolist() == [False, True, False]
    assert loss.next_state(loss.init_state(codebook), latents, found.indices)["codebook"].isnan().any()


def test_perplexity_counts_the_codes_in_use():
    assert VectorQuantised.perplexity(torch.tensor([0, 1, 2, 3]), 8).item() == pytest.approx(4.0)
    assert VectorQuantised.perplexity(torch.tensor([5, 5]), 8).item() == pytest.approx(1.0)
    with pytest.raises(ValueError, match=r"indices lie in \[0, 3\], expected 0 to 1 for 2 codes"):
        VectorQuantised.perplexity(torch.tensor([0, 1, 2, 3]), 2)
    with pytest.raises(TypeError, match=r"indices have dtype torch\.float32"):
        VectorQuantised.perplexity(torch.zeros(2), 8)
    with pytest.raises(ValueError, match="at least one sample"):
        VectorQuantised.perplexity(torch.zeros(0).long(), 8)


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match="dim"):
        VectorQuantised().quantise(torch.zeros(2, 3), torch.zeros(4, 2))
    with pytest.raises(ValueError, match="commitment"):
        VectorQuantised(commitment=-1.0)
    with pytest.raises(ValueError, match="decay"):
        VectorQuantised(decay=1.0)
    latents = torch.zeros(2, 3)
    found = VectorQuantised().quantise(latents, torch.zeros(4, 3))
    with pytest.raises(ValueError, match=r"codes is 2 and the latents were quantised with 4 codes; expected the same"):
        VectorQuantised()(latents, found, torch.zeros(2), codes=2)
    with pytest.raises(ValueError, match="the state holds nothing, expected codebook, count, total too"):
        VectorQuantised(decay=0.9).next_state({}, latents, found.indices)
    loss = VectorQuantised(decay=0.9)
    state = loss.init_state(torch.zeros(4, 3))
    for indices, error, words in (
        (torch.tensor([0, 4]), ValueError, r"indices lie in \[0, 4\], expected 0 to 3 for 4 codes"),
        (torch.tensor([-1, 0]), ValueError, r"indices lie in \[-1, 0\], expected 0 to 3"),
        (torch.tensor([0, 1, 2]), ValueError, r"latents have shape \(2, 3\) and indices \(3,\), expected"),
        (torch.tensor([0.0, 1.0]), TypeError, r"indices have dtype torch\.float32, expected torch\.int64"),
    ):
        with pytest.raises(error, match=words):
            loss.next_state(state, latents, indices)
    with pytest.raises(ValueError, match=r"latents have shape \(2, 2\)"):
        loss.next_state(state, torch.zeros(2, 2), found.indices)
    with pytest.raises(TypeError, match=r"latents has dtype torch\.int64"):
        loss.next_state(state, latents.long(), found.indices)
    with pytest.raises(ValueError, match="decay is '1', expected a positive finite number"):
        VectorQuantised(decay="1")
    with pytest.raises(ValueError, match="do not fit"):
        VectorQuantised()(latents, found, torch.zeros(3), codes=4)
