"""Virtual batch normalisation: the statistics of its definition, and a reference batch that stays."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.autograd import gradcheck, gradgradcheck

from genloss.errors import InputError
from genloss.networks import DCGAN, MLP, ReferenceBatch, VirtualBatchNorm, couples_batch


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def by_loops(x, references, epsilon):
    """One sample and one feature at a time; a sample weighs as much as a reference sample."""
    out = torch.empty_like(x)
    for i in range(len(x)):
        for f in range(x.shape[1]):
            values = [x[r, f].flatten() for r in range(references)]
            if i >= references:
                values.append(x[i, f].flatten())
            mean = sum(v.mean() for v in values) / len(values)
            variance = sum(v.square().mean() for v in values) / len(values) - mean**2
            out[i, f] = (x[i, f] - mean) / (variance + epsilon).sqrt()
    return out


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.sampled_from([(), (3,), (2, 4)]), st.integers(0, 99))
def test_it_is_the_sum_of_the_definition(references, batch, features, places, seed):
    torch.manual_seed(seed)
    layer = VirtualBatchNorm(features, references).double()
    x = 3.0 + torch.randn(references + batch, features, *places, dtype=torch.float64)
    torch.testing.assert_close(layer(x), by_loops(x, references, layer.epsilon), rtol=1e-9, atol=1e-9)


def test_the_reference_is_normalised_as_by_batch_norm():
    for batch_norm, places in ((nn.BatchNorm1d, ()), (nn.BatchNorm2d, (5, 2))):
        x = torch.randn(9, 3, *places)
        torch.testing.assert_close(VirtualBatchNorm(3, references=8)(x)[:8], batch_norm(3)(x[:8]))


def test_scale_and_shift_are_those_of_a_feature():
    layer, x = VirtualBatchNorm(2, references=3), torch.randn(5, 2, 4, 4)
    plain = layer(x)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([2.0, 3.0]))
        layer.bias.copy_(torch.tensor([-1.0, 1.0]))
    expected = plain * torch.tensor([2.0, 3.0])[:, None, None] + torch.tensor([-1.0, 1.0])[:, None, None]
    torch.testing.assert_close(layer(x), expected)


def test_a_change_of_units_changes_nothing():
    layer = VirtualBatchNorm(3, references=4, epsilon=0.0).double()
    x = torch.randn(7, 3, dtype=torch.float64)
    torch.testing.assert_close(layer(2.0 * x + 5.0), layer(x))


def test_a_large_mean_does_not_cancel():
    x = torch.randn(40, 1, 4, 4)
    torch.testing.assert_close(VirtualBatchNorm(1, 30)(x + 1e3), VirtualBatchNorm(1, 30)(x), rtol=0, atol=1e-3)


def test_channels_last_gives_the_same_in_its_own_layout():
    layer, x = VirtualBatchNorm(3, references=2), torch.randn(5, 3, 4, 6)
    last = layer(x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(last, layer(x))
    assert last.is_contiguous(memory_format=torch.channels_last)


def test_half_precision_is_kept_and_its_statistics_are_not():
    x = (301.0 + torch.randn(70, 1, 32, 32)).bfloat16()  # steps of 2: a mean in half precision is off by a unit
    low = VirtualBatchNorm(1)(x)
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.float(), VirtualBatchNorm(1)(x.float()), rtol=0.01, atol=0.01)


@pytest.mark.parametrize("places", [(), (2, 2)])
def test_gradients_of_both_orders(places):
    layer = VirtualBatchNorm(2, references=3).double()
    x = torch.randn(5, 2, *places, dtype=torch.float64, requires_grad=True)
    assert gradcheck(layer, x)
    assert gradgradcheck(layer, x)


def body(references=4):
    layers = (
        nn.Linear(2, 3),
        VirtualBatchNorm(3, references),
        nn.Tanh(),
        nn.Linear(3, 3),
        VirtualBatchNorm(3, references),
    )
    return ReferenceBatch(nn.Sequential(*layers), (2,))


def test_the_first_batch_of_training_is_kept_and_no_other():
    network, first = body(), torch.randn(6, 2)
    network(first)
    assert network.chosen
    assert torch.equal(network.reference, first[:4])
    network(torch.randn(6, 2))
    assert torch.equal(network.reference, first[:4])


def test_the_pass_is_the_layers_on_reference_and_samples():
    network, first, x = body(), torch.randn(6, 2), torch.randn(3, 2)
    network(first)
    torch.testing.assert_close(network(x), network.network(torch.cat((first[:4], x)))[4:])


def test_a_small_first_batch_is_repeated():
    network, first = body(), torch.randn(3, 2)
    network(first)
    assert torch.equal(network.reference, first[[0, 1, 2, 0]])


def test_evaluation_before_training_keeps_nothing():
    network = body().eval()
    before = copy.deepcopy(network.state_dict())
    assert network(torch.randn(6, 2)).isfinite().all()
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    first = torch.randn(6, 2)
    network.train()(first)
    assert torch.equal(network.reference, first[:4])


def test_training_and_evaluation_agree_and_no_sample_sees_another():
    network, x = body(), torch.randn(6, 2)
    network(torch.randn(6, 2))
    trained = network(x)
    torch.testing.assert_close(network.eval()(x), trained, rtol=0, atol=0)
    torch.testing.assert_close(network(x[:1]), trained[:1])
    order = torch.randperm(6)
    torch.testing.assert_close(network(x[order]), trained[order])
    x.requires_grad_()
    (slope,) = torch.autograd.grad(network(x)[0].sum(), x)
    assert slope[0].abs().max() > 0
    assert (slope[1:] == 0).all()


def test_weights_feel_the_reference():
    """Its activations are functions of the weights, not constants: the derivative is that of the whole."""
    network = body().double()
    network(torch.randn(6, 2, dtype=torch.float64))
    x, names = torch.randn(3, 2, dtype=torch.float64), [name for name, _ in network.named_parameters()]

    def call(*parameters):
        return torch.func.functional_call(network, dict(zip(names, parameters, strict=True)), (x,))

    assert gradcheck(call, tuple(p.detach().requires_grad_() for p in network.parameters()))


def test_saved_and_loaded_it_goes_on_as_before():
    network, x = body(), torch.randn(5, 2)
    network(torch.randn(6, 2))
    other = body()
    other(torch.randn(6, 2))  # another reference, which the saved one replaces
    for fresh in (body(), other, copy.deepcopy(network)):
        fresh.load_state_dict(network.state_dict())
        assert torch.equal(fresh(x), network(x))
        assert torch.equal(fresh.reference, network.reference)
    unset = body().state_dict()
    other.load_state_dict(unset)
    other(x)
    assert torch.equal(other.reference, x[:4])


@pytest.mark.parametrize(
    "architecture", [MLP(width=6, depth=2, norm="virtual_batch"), DCGAN(width=2, norm="virtual_batch")]
)
def test_generators_and_critics_make_each_sample_by_itself(architecture):
    shape = (1, 16, 16)
    for network, inputs in ((architecture.generator(3, shape), (3,)), (architecture.critic(shape), shape)):
        assert not couples_batch(network)
        network(torch.randn(8, *inputs))
        x = torch.randn(5, *inputs)
        torch.testing.assert_close(network(x)[:2], network(x[:2]), rtol=1e-4, atol=1e-5)
        network(x).square().sum().backward()
        assert all(p.grad.abs().max() > 0 for p in network.parameters())


def test_the_reference_is_not_among_the_others_of_minibatch_discrimination():
    critic = MLP(width=6, norm="virtual_batch", minibatch_discrimination=True).critic((2,))
    x = torch.randn(1, 2)
    critic(x)
    features = critic[0](x)
    assert (critic[1](features)[:, 6:] == 0.0).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VirtualBatchNorm(0), "features is 0"),
        (lambda: VirtualBatchNorm(2, references=0), "references is 0"),
        (lambda: VirtualBatchNorm(2)(torch.zeros(70, 3)), r"shape \(70, 3\), expected \(64 references \+ batch, 2"),
        (lambda: VirtualBatchNorm(2)(torch.zeros(64, 2)), "put the network into a ReferenceBatch"),
        (lambda: ReferenceBatch(nn.Linear(2, 2), (2,)), r"ask for \[\] references"),
        (
            lambda: ReferenceBatch(nn.Sequential(VirtualBatchNorm(2, 3), VirtualBatchNorm(2, 4)), (2,)),
            r"ask for \[3, 4\] references, expected one number",
        ),
        (lambda: body()(torch.zeros(3, 1)), r"shape \(3, 1\), expected \(batch, 2\)"),
        (lambda: body()(torch.zeros(0, 2)), "at least one sample"),
    ],
)
def test_refusals_say_what_is_wrong(make, message):
    with pytest.raises(InputError, match=message):
        make()
