"""The Boltzmann machine against sums over all joint states."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genloss.errors import InputError
from genloss.losses import Gibbs
from genloss.losses.samplers import BipartiteEnergy
from genloss.networks import RBM


def states(units):
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=units)), dtype=torch.float64)


def machine(visible, hidden, seed=0, scale=1.0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = RBM((visible,), hidden).double()
        for parameter in made.parameters():
            torch.nn.init.normal_(parameter, std=scale)
    return made


def joint(made):
    """Energies of all joint states by the double sum of the definition, `(visible states, hidden states)`."""
    v, h = (states(units) for units in made.weight.shape)
    b, w, c = made.visible_bias, made.weight, made.hidden_bias
    return -(v @ b)[:, None] - (h @ c)[None] - torch.einsum("ni,ij,mj->nm", v, w, h)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 1000), st.floats(0.0, 3.0))
def test_everything_follows_from_the_energy_of_joint_states(visible, hidden, seed, scale):
    made = machine(visible, hidden, seed, scale)
    energies = joint(made).detach()
    v, h = states(visible), states(hidden)
    pairs = v.repeat_interleave(len(h), 0), h.repeat(len(v), 1)
    torch.testing.assert_close(made.energy(*pairs).detach(), energies.flatten())
    torch.testing.assert_close(made(v).detach(), -(-energies).logsumexp(1))
    log_normaliser = (-energies).flatten().logsumexp(0)
    torch.testing.assert_close(made.log_normaliser().detach(), log_normaliser)
    torch.testing.assert_close(made.log_prob(v).detach(), (-energies).logsumexp(1) - log_normaliser)
    torch.testing.assert_close(made.hidden_probabilities(v).detach(), (-energies).softmax(1) @ h)
    torch.testing.assert_close(made.visible_probabilities(h).detach(), (-energies).softmax(0).mT @ v)


@pytest.mark.parametrize(("visible", "hidden"), [(784, 11), (13, 200)])
def test_the_larger_layer_is_never_enumerated(visible, hidden):
    made = machine(visible, hidden)
    torch.nn.init.zeros_(made.weight)
    # Independent units: log Z is the sum over units of log(1 + e^bias).
    expected = torch.nn.functional.softplus(torch.cat((made.visible_bias, made.hidden_bias))).sum()
    torch.testing.assert_close(made.log_normaliser(), expected)


def test_the_gradient_of_log_z_is_the_mean_of_the_units():
    made = machine(5, 4)
    probabilities = (-joint(made).detach()).flatten().softmax(0).reshape(32, 16)
    expected = (-states(5).mT @ probabilities @ states(4), probabilities.sum(1) @ states(5))
    on_weight, on_bias = torch.autograd.grad(made.log_normaliser(), (made.weight, made.visible_bias))
    torch.testing.assert_close(on_weight, -expected[0])
    torch.testing.assert_close(on_bias, expected[1])


def test_samples_have_the_shape_and_the_frequencies_of_the_conditionals():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        made = RBM((2, 3), hidden=4)
    torch.nn.init.normal_(made.weight, generator=torch.Generator().manual_seed(2))
    rng = torch.Generator().manual_seed(0)
    visible = torch.bernoulli(torch.full((1, 2, 3), 0.5), generator=rng).expand(20000, 2, 3)
    hidden = made.sample_hidden(visible, rng)
    again = made.sample_visible(hidden[:1].expand(20000, 4), rng)
    for drawn, truth in (
        (hidden, made.hidden_probabilities(visible[:1])),
        (again, made.visible_probabilities(hidden[:1])),
    ):
        assert set(drawn.unique().tolist()) <= {0.0, 1.0}
        assert (drawn.mean(0) - truth[0]).abs().max().item() < 5.0 * math.sqrt(0.25 / 20000)
    assert again.shape == (20000, 2, 3)


def test_the_gibbs_sampler_takes_it():
    made = RBM((2, 2), hidden=3)
    assert isinstance(made, BipartiteEnergy)
    chains = Gibbs().run(made, torch.zeros(7, 2, 2), 3, torch.Generator().manual_seed(0))
    assert chains.shape == (7, 2, 2)
    assert not chains.requires_grad


def test_the_start_depends_on_the_global_seed_only():
    weights = []
    for _ in range(2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            weights.append(RBM((4,), 3).weight)
    assert torch.equal(*weights)
    assert 0.0 < weights[0].abs().max().item() < 0.1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RBM((0,), 2), r"shape is \(0,\)"),
        (lambda: RBM((2,), 0), "hidden is 0"),
        (lambda: RBM((2,), 2)(torch.zeros(3, 1)), r"visible units have shape \(3, 1\), expected \(batch, 2\)"),
        (lambda: RBM((2,), 2)(torch.tensor(1.0)), r"expected \(batch, 2\)"),
        (lambda: RBM((2,), 2).visible_probabilities(torch.zeros(3, 1)), r"expected \(batch, 2\)"),
        (lambda: RBM((2,), 2).energy(torch.zeros(3, 2), torch.zeros(1, 2)), "3 visible and 1 hidden states"),
        (lambda: RBM((21,), 21).log_normaliser(), "21 visible and 21 hidden units, expected at most 20"),
    ],
)
def test_refusals_say_what_is_wrong(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_half_precision_rounds_no_energy():
    torch.manual_seed(0)
    machine = RBM((50,), hidden=8)
    torch.nn.init.normal_(machine.weight)
    x = torch.bernoulli(torch.full((6, 50), 0.5))
    exact = machine(x), machine.log_normaliser(), machine.hidden_probabilities(x)
    with torch.autocast("cpu", torch.bfloat16):
        found = machine(x), machine.log_normaliser(), machine.hidden_probabilities(x)
    for one, other in zip(found, exact, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("dtype", [torch.long, torch.float64, torch.float16])
def test_units_of_another_dtype_are_named(dtype):
    machine = RBM((3,), hidden=2)
    with pytest.raises(InputError, match=f"visible units are {dtype} and the weights torch.float32"):
        machine(torch.zeros(1, 3, dtype=dtype))
    with pytest.raises(InputError, match=f"hidden units are {dtype}"):
        machine.visible_probabilities(torch.zeros(1, 2, dtype=dtype))


def test_a_shape_is_a_tuple():
    with pytest.raises(InputError, match="shape is 2, expected the sizes of one sample"):
        RBM(2, hidden=1)
