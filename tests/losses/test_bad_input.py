"""Every loss of the catalogue refuses what it cannot take, in a sentence, and hides no NaN."""

import math

import pytest
import torch
from torch import nn

import genloss.losses as losses
from genloss.losses import f_divergence, find_loss
from tests.losses.inputs import (
    ALL,
    BATCH,
    IN_FAMILY,
    VARIANTS,
    VOCABULARY,
    Machine,
    cases,
    energy,
    good_input,
    normal,
    refused,
    rng,
    run,
)


@pytest.mark.parametrize("loss", [x for x in ALL + VARIANTS if x.family != "cost"], ids=repr)
def test_right_input_is_taken(loss):
    for value in run(loss, good_input(loss)):
        assert value.isfinite().all()


@pytest.mark.parametrize(("loss", "name"), cases("parameter_penalty", "constraint", "energy", "sampler"))
def test_a_shape_that_would_broadcast(loss, name):
    given = good_input(loss)
    given[name] = given[name].unsqueeze(-1)
    refused(loss, given, "shape")


@pytest.mark.parametrize(("loss", "name"), cases())
def test_integers_where_floats_are_needed(loss, name):
    given = good_input(loss)
    given[name] = given[name].round().long()
    refused(loss, given, "torch.int64", "expected a floating dtype", ".float()")


@pytest.mark.parametrize(("loss", "name"), cases(tensors=lambda t: not t.is_floating_point()))
def test_floats_where_integers_or_a_mask_are_needed(loss, name):
    given = good_input(loss)
    given[name] = given[name].float()
    refused(loss, given, "torch.float32", "torch.bool" if "mask" in name else "torch.int64")


@pytest.mark.parametrize(("loss", "name"), cases("parameter_penalty", "constraint"))
def test_an_empty_batch(loss, name):
    given = {
        key: value[:, :0] if key in ("z", "log_likelihood") and loss.family == "variational" else value[:0]
        for key, value in good_input(loss).items()
    }
    if loss.family == "quantisation":
        given["codebook"] = good_input(loss)["codebook"]
    refused(loss, given, "at least one sample")


PAIRED = [
    case
    for case in cases("parameter_penalty", "constraint", "energy", "sampler", "token", "context", "risk", "completion")
    if case.values[0].family not in ("attention", "likelihood_loss")
]


@pytest.mark.parametrize(("loss", "name"), PAIRED)
@pytest.mark.parametrize("change", [torch.Tensor.double, lambda t: t.to("meta")], ids=["dtype", "device"])
def test_one_tensor_of_another_dtype_or_device(loss, name, change):
    given = good_input(loss)
    given[name] = change(given[name])
    refused(loss, given, "dtypes or devices differ")


# What a loss takes for the sake of its family and does not look at.
UNREAD = {
    ("consistency", "fake"),
    ("dragan", "fake"),
    ("elbo", "z"),
    ("free_bits", "z"),
    ("latent_consistency", "real"),
    ("pulling_away", "real_features"),
    ("r1", "fake"),
    ("r2", "real"),
    ("virtual_adversarial", "fake"),
}


@pytest.mark.parametrize(("loss", "name"), [c for c in cases() if (c.values[0].card.name, c.values[1]) not in UNREAD])
@pytest.mark.parametrize("at", [0, -1], ids=["first", "last"])
@pytest.mark.filterwarnings("ignore:Sinkhorn stopped")
def test_nan_is_refused_or_stays_nan(loss, name, at):
    given = good_input(loss)
    given[name].view(-1)[at] = math.nan
    try:
        values = run(loss, given)
    except ValueError:
        refused(loss, given, "nan")
        return
    assert any(value.isnan().any() for value in values), "the loss hides that its input is no number"
    if loss.family in ("token", "context", "completion", "embedding", "attention", "risk", "likelihood_loss"):
        assert values[0].isnan().tolist() == [row == at % BATCH for row in range(BATCH)]


@pytest.mark.parametrize("family", ["adversarial", "token", "context", "completion"])
@pytest.mark.parametrize("squash", [torch.sigmoid, lambda t: t.softmax(-1)], ids=["sigmoid", "softmax"])
def test_probabilities_where_logits_are_expected(family, squash):
    for loss in IN_FAMILY[family]:
        given = good_input(loss)
        names = [name for name, value in given.items() if value.is_floating_point()]
        for name in names:
            made = squash(given[name].clone().requires_grad_())
            # What only moves numbers does not hide where they come from.
            for moved in (made, made.clone(), made.unsqueeze(0).squeeze(0), torch.cat((made, made)).chunk(2)[0]):
                if getattr(loss, "energies", False):
                    run(loss, given | {name: moved})
                else:
                    refused(loss, given | {name: moved}, f"{name.removeprefix('sample_')} come from a", "logits")
            run(loss, given | {name: given[name].clone().requires_grad_() * 1.0})


@pytest.mark.parametrize("loss", [losses.Bernoulli(), losses.Categorical(levels=5)], ids=repr)
def test_a_decoder_of_logits_must_not_squash_them(loss):
    given = good_input(loss)
    given["parameters"] = nn.Sigmoid()(given["parameters"].requires_grad_())
    refused(loss, given, "parameters come from a sigmoid", "logits")


def test_a_decoder_of_means_may_squash_them():
    given = good_input(losses.Gaussian())
    given["parameters"] = given["parameters"].requires_grad_().sigmoid()
    assert run(losses.Gaussian(), given)[0].isfinite().all()


@pytest.mark.parametrize("loss", IN_FAMILY["token"] + IN_FAMILY["context"] + IN_FAMILY["completion"], ids=repr)
def test_rows_of_probabilities_are_seen_without_a_graph_too(loss):
    given = good_input(loss)
    name = next(name for name, value in given.items() if value.is_floating_point())
    given[name] = given[name].softmax(-1)
    refused(loss, given, "look like probabilities", "logits")
    run(loss, given | {name: given[name].log()})


@pytest.mark.parametrize("loss", IN_FAMILY["risk"], ids=repr)
def test_probabilities_and_losses_are_no_log_probabilities(loss):
    given = good_input(loss)
    for wrong in (given["sample_log_probs"].exp(), -given["sample_log_probs"]):
        refused(loss, given | {"sample_log_probs": wrong}, "sample_log_probs reach", "at most 0")


MASKED = cases(tensors=lambda t: t.dtype == torch.bool)


@pytest.mark.parametrize(("loss", "name"), MASKED)
def test_a_mask_that_masks_everything(loss, name):
    given = good_input(loss)
    given[name] = torch.zeros_like(given[name])
    refused(loss, given, name, "false everywhere", "~")
    given[name][0, 0] = True
    assert all(value.isfinite().all() for value in run(loss, given))


def test_distinct_that_leaves_a_target_without_a_sample():
    loss = losses.MinimumRisk()
    distinct = torch.tensor([[True, False, False], [False, False, False]])
    with pytest.raises(ValueError, match="at least one true a row"):
        loss(-torch.ones(2, 3), torch.ones(2, 3), distinct=distinct)
    with pytest.raises(TypeError, match=r"distinct has dtype torch\.float32"):
        loss(-torch.ones(2, 3), torch.ones(2, 3), distinct=distinct.float())


@pytest.mark.parametrize("loss", IN_FAMILY["energy"], ids=repr)
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda x: energy(x).unsqueeze(1), "one number a sample"),
        (lambda x: energy(x).sum(), "one number a sample"),
        (lambda x: energy(x).long(), "floating"),
    ],
)
def test_an_energy_of_another_shape_or_dtype(loss, wrong, words):
    sampler, noise = losses.Gibbs(), losses.NormalNoise.fit(normal(50, 2))

    class Wrong(Machine):
        def __call__(self, x, *sigma):
            return wrong(x)

    state = loss.init_state(normal(BATCH, 2), sampler, rng())
    with pytest.raises((ValueError, TypeError), match=words):
        loss(Wrong(), normal(BATCH, 2), rng=rng(), sampler=sampler, noise=noise, state=state)


def test_a_noise_density_of_another_shape_does_not_broadcast():
    class Noise:
        def sample(self, n, rng):
            return normal(n, 2)

        def log_prob(self, x):
            return -x.square()[:, :1]

    with pytest.raises(ValueError, match=r"noise's log-density .* has shape \(8, 1\), expected \(8,\)"):
        losses.NoiseContrastive()(energy, normal(BATCH, 2), rng=rng(), noise=Noise())


def test_persistent_chains_of_other_data():
    loss, sampler = losses.ContrastiveDivergence(persistent=True), losses.Langevin()
    state = loss.init_state(normal(BATCH, 3), sampler, rng())
    with pytest.raises(ValueError, match=r"chain has shape \(3,\) and one sample \(2,\)"):
        loss(energy, normal(BATCH, 2), rng=rng(), sampler=sampler, state=state)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_data_that_are_not_finite_are_named_with_their_place(bad):
    x = torch.ones(3, 2)
    x[1, 0] = bad
    for call in (
        lambda: losses.Gaussian().log_prob(x, torch.zeros(3, 2)),
        lambda: losses.ScoreMatching()(energy, x, rng=rng()),
        lambda: losses.NormalNoise.fit(x),
        lambda: losses.median_bandwidth(x),
    ):
        with pytest.raises(ValueError, match=rf"is {bad} at \(1, 0\), and 1 of its 6 values are not finite; expected"):
            call()


def test_a_sum_that_overflows_is_no_bad_value():
    x = torch.full((4, 2), 3e38)
    assert losses.Gaussian(scale=1e38).log_prob(x, x).isfinite().all()


@pytest.mark.parametrize("size", [1e30, 3e38, math.inf])
@pytest.mark.parametrize("loss", IN_FAMILY["distance"], ids=repr)
@pytest.mark.filterwarnings("ignore:Sinkhorn stopped")
def test_a_distance_of_huge_numbers_ends(loss, size):
    x = normal(BATCH, 1)
    x[0] = size
    value = loss(x, normal(BATCH, 1), rng=rng())
    assert value.shape == ()


WRONG_FIELDS = [
    (losses.MMD, {"bandwidths": (0.0,)}, "bandwidths is (0.0,)"),
    (losses.MMD, {"bandwidths": (1.0, math.nan)}, "bandwidths is (1.0, nan)"),
    (losses.MMD, {"bandwidths": ()}, "bandwidths is ()"),
    (losses.MMD, {"bandwidths": 1.0}, "bandwidths is 1.0"),
    (losses.MMD, {"bandwidths": ("1",)}, "bandwidths is ('1',)"),
    (losses.MMD, {"kernel": "gausian"}, "kernel is 'gausian', expected one of gaussian"),
    (losses.Sinkhorn, {"blur": 0.0}, "blur is 0.0"),
    (losses.Sinkhorn, {"p": 3}, "p is 3"),
    (losses.SlicedWasserstein, {"projections": 1.5}, "projections is 1.5, expected a whole number of at least 1"),
    (losses.DenoisingScoreMatching, {"sigmas": 0.1}, "sigmas is 0.1"),
    (losses.DenoisingScoreMatching, {"sigmas": (0.1, 0.0)}, "sigmas is (0.1, 0.0)"),
    (losses.EditInvariant, {"sizes": 2}, "sizes is 2"),
    (losses.EditInvariant, {"sizes": (0,)}, "sizes is 0"),
    (losses.ELBO, {"samples": 1.5}, "samples is 1.5, expected a whole number"),
    (losses.ELBO, {"samples": True}, "samples is True, expected a whole number"),
    (losses.ELBO, {"beta": "1"}, "beta is '1', expected a finite number"),
    (losses.ELBO, {"kl": "analytical"}, "kl is 'analytical', expected one of analytic"),
    (losses.Gaussian, {"scale": 0.0}, "scale is 0.0"),
    (losses.FHellinger, {"generator_form": "fenchel"}, "generator_form is 'fenchel'"),
    (losses.FAlpha, {"alpha": 1.0}, "alpha is 1.0"),
]


@pytest.mark.parametrize(("cls", "fields", "words"), WRONG_FIELDS, ids=lambda value: str(value)[:40])
def test_a_field_out_of_its_range(cls, fields, words):
    with pytest.raises(ValueError) as caught:
        cls(**fields)
    assert words in str(caught.value)
    assert "expected" in str(caught.value)


def test_an_unknown_divergence():
    p = torch.tensor([0.5, 0.5])
    with pytest.raises(ValueError, match="name is 'chi', expected one of kl, reverse_kl"):
        f_divergence("chi", p, p)
    with pytest.raises(KeyError, match=r"no adversarial loss named 'f_helinger'. Did you mean 'f_hellinger'\?"):
        find_loss("f_helinger", "adversarial")


@pytest.mark.parametrize("divergence", ["forward_kl", "reverse_kl", "jensen_shannon", "total_variation", "hellinger"])
def test_divergences_refuse_what_is_no_probability_vector(divergence):
    function, p = getattr(losses, divergence), torch.tensor([[0.25, 0.75]])
    for wrong, words in (
        (p.log(), "no probability vector"),
        (p * math.nan, "no probability vector"),
        (p[:, :0], "at least one sample"),
        (p.T, "shapes differ"),
        (p.long(), "floating"),
        (p.double(), "dtypes or devices differ"),
    ):
        with pytest.raises((ValueError, TypeError), match=words):
            function(p, wrong)


def test_costs_compare_sequences_of_plain_tokens():
    cost = losses.EditDistance()
    tokens = torch.tensor([[1, 2]])
    for sequences in (tokens, [tokens[0]], [[tokens[0, 0], tokens[0, 1]]]):
        with pytest.raises(TypeError, match="sequences are tensors, expected lists"):
            cost(sequences, [[1, 2]])
        with pytest.raises(TypeError, match="sequences are tensors, expected lists"):
            cost([[1, 2]], sequences)
    with pytest.raises(ValueError, match="expected at least one"):
        cost([], [])
    with pytest.raises(TypeError, match=r"expected torch\.int64"):
        losses.token_costs(cost, tokens[None].float(), tokens, 0)


def test_perplexity_takes_the_mask_of_its_sequences():
    mask = torch.ones(2, 3, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"expected \(batch,\) and \(batch, length\)"):
        losses.perplexity(-torch.ones(2, 1), mask)
    with pytest.raises(TypeError, match=r"mask has dtype torch.float32"):
        losses.perplexity(-torch.ones(2), mask.float())
    with pytest.raises(ValueError, match="no token counts"):
        losses.perplexity(-torch.ones(2), ~mask)


def test_what_is_no_tensor_is_named():
    with pytest.raises(TypeError, match=r"real_scores is a list, expected a torch\.Tensor"):
        losses.Hinge().discriminator([1.0], torch.ones(1))


READS_NOTHING = ("adversarial", "variational", "likelihood", "likelihood_loss", "token", "context", "risk", "embedding")
# Ones whose overflow is looked for on every device, and ones that draw from the prior, which the meta device cannot.
LEFT_OUT = {loss.card.name for loss in IN_FAMILY["adversarial"] if loss.score_range() is not None} | {"wae", "info_vae"}


@pytest.mark.parametrize(
    "loss",
    [x for family in (*READS_NOTHING, "attention") for x in IN_FAMILY[family] if x.card.name not in LEFT_OUT],
    ids=repr,
)
def test_no_check_waits_for_a_device(loss):
    """On the meta device, which has shapes and no values, every reading of a value raises."""
    given = {name: value.to("meta") for name, value in good_input(loss).items()}
    for value in run(loss, given):
        assert value.is_meta


@pytest.mark.parametrize("loss", [x for x in ALL if x.family in ("token", "context")], ids=repr)
@pytest.mark.parametrize("token", [-100, VOCABULARY])
def test_padding_that_is_no_token_is_told_to_go_into_the_mask(loss, token):
    given = good_input(loss)
    given["targets"][2, -1] = token
    given["mask"][2, -1] = False
    with pytest.raises(ValueError, match=rf"tokens hold {token} at \(2, 3\), expected 0 to 4 .* told by the mask"):
        loss(**given)
