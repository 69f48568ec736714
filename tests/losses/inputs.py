"""Every loss of the catalogue with tensors that it takes, and how a refusal is read."""

import re

import pytest
import torch

import genloss.losses as losses
from genloss.losses import catalogue

BATCH, LENGTH, VOCABULARY, LATENT = 8, 4, 5, 3
REQUIRED = {"beta_tc_vae": {"dataset_size": 100}, "optimal_completion": {"end": 0}}
ALL = [cls(**REQUIRED.get(name, {})) for name, cls in catalogue().items()]
VARIANTS = [
    losses.GradientPenalty(one_sided=True),
    losses.MMD(estimator="biased", root=True),
    losses.MMD(estimator="linear_time"),
    *(losses.MMD(kernel=k) for k in ("rational_quadratic", "laplace", "inverse_multiquadric", "linear", "polynomial")),
    losses.Wasserstein1D(p=2.0),
    losses.Sinkhorn(p=1),
    losses.IWAE(gradient="doubly_reparameterised"),
    losses.ELBO(capacity=1.0, kl_gradient=1.0),
    losses.Gaussian(variance="predicted"),
    losses.Laplace(variance="shared"),
    losses.TokenCrossEntropy(label_smoothing=0.1),
    losses.ContrastiveDivergence(persistent=True, steps=2),
]
IN_FAMILY = {family: [loss for loss in ALL + VARIANTS if loss.family == family] for family in {x.family for x in ALL}}


def rng():
    return torch.Generator().manual_seed(0)


def normal(*shape):
    return torch.randn(*shape, generator=rng())


def critic(x):
    return (x.flatten(1).tanh() * torch.linspace(-1.0, 1.0, x[0].numel(), dtype=x.dtype)).sum(1)


def energy(x):
    return (x.square() + x.cos()).flatten(1).sum(1)


def good_input(loss):
    """Returns the tensors that a loss takes, by name, all right."""
    tokens = torch.randint(1, VOCABULARY, (BATCH, LENGTH), generator=rng())
    ended = torch.cat((tokens, torch.zeros(BATCH, 1, dtype=torch.long)), 1)
    mask = torch.ones(BATCH, LENGTH, dtype=torch.bool)
    values = getattr(loss, "parameters_per_value", 1) + getattr(loss, "shared_parameters", 0)
    trailing = (values,) if values > 1 else ()
    return {
        "adversarial": lambda: {"real_scores": normal(BATCH), "fake_scores": normal(BATCH)},
        "penalty": lambda: {"real": normal(BATCH, 1, 6, 6), "fake": normal(BATCH, 1, 6, 6)},
        "parameter_penalty": lambda: {"parameter": normal(4, 3)},
        "constraint": lambda: {"parameter": normal(4, 3)},
        "feature_penalty": lambda: {"real_features": normal(BATCH, 3), "fake_features": normal(BATCH, 3)},
        "distance": lambda: {"x": normal(BATCH, 1), "y": normal(BATCH, 1) + 1.0},
        "variational": lambda: {
            "mean": normal(BATCH, LATENT),
            "log_variance": normal(BATCH, LATENT),
            "z": normal(loss.samples, BATCH, LATENT),
            "log_likelihood": normal(loss.samples, BATCH),
        },
        "quantisation": lambda: {
            "latents": normal(BATCH, LATENT),
            "codebook": normal(6, LATENT),
            "log_likelihood": normal(BATCH),
        },
        "likelihood": lambda: {"x": torch.ones(BATCH, 2), "parameters": normal(BATCH, 2, *trailing)},
        "likelihood_loss": lambda: {"log_prob": normal(BATCH)},
        "energy": lambda: {"real": normal(BATCH, 2)},
        "sampler": lambda: {"start": normal(BATCH, 2)},
        "token": lambda: {"logits": normal(BATCH, LENGTH, VOCABULARY), "targets": tokens, "mask": mask},
        "context": lambda: {"logits": normal(BATCH, VOCABULARY), "targets": tokens, "mask": mask},
        "risk": lambda: {"sample_log_probs": -normal(BATCH, 3).abs(), "costs": normal(BATCH, 3).abs()},
        "completion": lambda: {
            "sample_logits": normal(BATCH, LENGTH, VOCABULARY),
            "samples": tokens,
            "targets": ended,
        },
        "embedding": lambda: {
            "embeddings": normal(BATCH, LENGTH, 2),
            "target_embeddings": normal(BATCH, LENGTH, 2),
            "mask": mask,
        },
        "attention": lambda: {
            "attention": normal(BATCH, LENGTH, LENGTH).softmax(-1),
            "source_mask": mask,
            "target_mask": mask,
        },
    }[loss.family]()


def run(loss, given):
    """Calls a loss in every way that it has; returns what it minimises and reports."""
    return {
        "adversarial": lambda: (
            loss.discriminator(given["real_scores"], given["fake_scores"], state=loss.init_state()),
            loss.generator(given["fake_scores"], given["real_scores"]),
        ),
        "penalty": lambda: (loss(critic, given["real"], given["fake"], rng()),),
        "parameter_penalty": lambda: (loss([given["parameter"]]),),
        "constraint": lambda: (loss.apply_([given["parameter"]]), given["parameter"])[1:],
        "feature_penalty": lambda: (loss(given["real_features"], given["fake_features"]),),
        "distance": lambda: (loss(given["x"], given["y"], rng=rng()),),
        "variational": lambda: variational(loss, **given),
        "quantisation": lambda: quantised(loss, **given),
        "likelihood": lambda: (loss.log_prob(given["x"], given["parameters"]),),
        "likelihood_loss": lambda: (loss(given["log_prob"]),),
        "energy": lambda: trained_energy(loss, given["real"]),
        "sampler": lambda: (
            loss.run(Machine() if isinstance(loss, losses.Gibbs) else energy, given["start"], 1, rng()),
        ),
        "token": lambda: (loss(**given),),
        "context": lambda: (loss(**given),),
        "risk": lambda: (loss(**given),),
        "completion": lambda: (loss(**given),),
        "embedding": lambda: (loss(**given),),
        "attention": lambda: (loss(**given),),
    }[loss.family]()


def variational(loss, mean, log_variance, z, log_likelihood):
    posterior = losses.DiagonalNormal(mean=mean, log_variance=log_variance)
    terms = loss(posterior, losses.DiagonalNormal.standard_like(posterior), z, log_likelihood, rng=rng())
    return terms.surrogate, terms.bound


def quantised(loss, latents, codebook, log_likelihood):
    terms = loss(latents, loss.quantise(latents, codebook), log_likelihood, codes=len(codebook))
    return terms.surrogate, terms.bound


def trained_energy(loss, real):
    sampler, noise = losses.Langevin(), losses.NormalNoise.fit(normal(50, 2))
    state = loss.init_state(normal(BATCH, 2), sampler, rng())
    terms = loss(energy, real, rng=rng(), sampler=sampler, noise=noise, state=state)
    return (terms.surrogate,)


class Machine:
    """Two layers of which one copies the other."""

    def __call__(self, visible):
        return visible.sum(1)

    def sample_hidden(self, visible, rng):
        return visible

    def sample_visible(self, hidden, rng):
        return hidden


def refused(loss, given, *words):
    """Expects a sentence that says what came and what was expected, with these words in it."""
    with pytest.raises((ValueError, TypeError)) as caught:
        run(loss, given)
    message = str(caught.value)
    assert type(caught.value) in (ValueError, TypeError), message
    assert re.search(r"expected|can be computed for", message), message
    assert message.endswith("."), message
    for word in words:
        assert word in message


def cases(*without, tensors=torch.is_floating_point):
    """Every loss but those of some families, with each of its tensors of a kind."""
    made = []
    for loss in ALL + VARIANTS:
        if loss.family in ("cost", *without):
            continue
        made += [pytest.param(loss, name, id=f"{loss}-{name}") for name, t in good_input(loss).items() if tensors(t)]
    return made
