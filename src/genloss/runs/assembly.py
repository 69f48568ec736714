"""From a recipe to its model: networks that fit the data, and who minimises what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from genloss.data import Dataset
from genloss.errors import InputError, did_you_mean
from genloss.losses import AdversarialLoss, Penalty, VectorQuantised
from genloss.models import (
    GAN,
    VAE,
    AppliedPenalty,
    Autoencoder,
    AutoencoderCritic,
    Codebook,
    GenerativeModel,
    MomentMatching,
    Prior,
    QuantisedVAE,
    Unrolling,
)
from genloss.models.restraints import Restraint
from genloss.networks import (
    MLP,
    Architecture,
    GaussianInference,
    MinibatchDiscrimination,
    TwoLayerInference,
    architectures,
    couples_batch,
)
from genloss.runs.choices import choose_likelihood
from genloss.runs.schema import AutoencoderCriticConfig, CodebookConfig, Recipe, checked
from genloss.runs.specification import construct, plain, to_mapping

__all__ = ["architecture", "assemble"]


def architecture(specification: Mapping[str, Any], key: str) -> Architecture:
    """Makes an architecture from `{name: mlp, width: 128}`."""
    fields = to_mapping({"name": "mlp", **specification}, key)
    name = fields.pop("name")
    known = architectures()
    if name not in known:
        raise InputError(f"{key}.name is {name!r}, not a known architecture.{did_you_mean(name, known)}")
    return construct(known[name], fields, key)


def assemble(
    recipe: Recipe, dataset: Dataset, loss: Any, restraints: Sequence[Restraint]
) -> tuple[GenerativeModel, Recipe, list[str]]:
    """Makes the model with weights from torch's global generator.

    Returns:
        The model, the recipe with what was chosen written out, and notes.

    Raises:
        InputError: the networks, the data, the loss and the penalties do not fit each other.
    """
    model: GenerativeModel
    notes: list[str] = []
    if recipe.model.name == "gan":
        model, notes = _gan(recipe, dataset, loss, restraints)
    elif recipe.model.name == "vae":
        model, recipe = _vae(recipe, dataset, loss, restraints)
    else:
        model = _matching(recipe, dataset, loss, restraints)
    model.set_updates(**{p.name: recipe.train.player(p.name).updates or 1 for p in model.players})
    return model, recipe, notes


def _networks(recipe: Recipe) -> tuple[Architecture, Architecture]:
    """Returns the architectures of a decoder or generator and of its encoder."""
    config = recipe.model
    if (config.critic or config.network).get("minibatch_discrimination"):
        raise InputError(
            f"minibatch_discrimination is for the critic of a gan: in the encoder of model.name={config.name} the code "
            "of a sample would depend on the rest of its batch; leave it out."
        )
    network = architecture(config.network, "model.network")
    return network, network if config.critic is None else architecture(config.critic, "model.critic")


def _into_range(network: Architecture, inputs: int, dataset: Dataset) -> nn.Module:
    """A generator whose output lies in the range of the data: tanh, sigmoid or unbounded."""
    if dataset.kind != "image":
        return network.generator(inputs, dataset.shape, bounded=False)
    if dataset.value_range == (0.0, 1.0):
        return nn.Sequential(network.generator(inputs, dataset.shape, bounded=False), nn.Sigmoid())
    return network.generator(inputs, dataset.shape, bounded=True)


def _gan(
    recipe: Recipe, dataset: Dataset, loss: AdversarialLoss, restraints: Sequence[Restraint]
) -> tuple[GAN, list[str]]:
    config = recipe.model
    network = architecture(config.network, "model.network")
    generator = _into_range(network, config.noise_dim, dataset)
    packing = config.packing or 1
    critic = _critic(recipe, (packing * dataset.shape[0], *dataset.shape[1:]), loss)
    gan = GAN(
        generator,
        critic,
        loss,
        Prior(config.prior, config.noise_dim),
        penalties=restraints,
        packing=packing,
        unrolling=None if config.unrolled is None else Unrolling(config.unrolled.steps, config.unrolled.rate),
        reuse_fakes=config.reuse_fakes or False,
    )
    sloped = [r.name for r in restraints if isinstance(r, AppliedPenalty) and isinstance(r.penalty, Penalty)]
    return gan, [_coupling_note(critic, sloped)] if sloped and couples_batch(critic) else []


def _coupling_note(critic: nn.Module, penalties: Sequence[str]) -> str:
    if any(isinstance(layer, MinibatchDiscrimination) for layer in critic.modules()):
        cause, remedy = "minibatch discrimination", "leave minibatch_discrimination out"
    else:
        cause = "batch normalisation"
        remedy = "model.critic={name: dcgan, norm: layer} has none, nor has one with spectral_norm: true"
    return (
        f"the critic has {cause}: {', '.join(penalties)} looks at scores that depend on the whole batch, not at one "
        f"sample; {remedy}"
    )


def _critic(recipe: Recipe, shape: tuple[int, ...], loss: AdversarialLoss) -> nn.Module:
    """Makes the critic; one that returns energies for the losses that read them, and only for these."""
    config = recipe.model
    name = to_mapping(recipe.loss, "loss")["name"]
    own = config.critic or config.network
    if own.get("name") != "autoencoder":
        if loss.energies:
            raise InputError(
                f"loss={name} reads energies of at least 0, low for real samples, but the critic is a "
                f"{own.get('name', 'mlp')} with unbounded scores; set model.critic=autoencoder, or preset=paper."
            )
        return architecture(own, "model.critic").critic(shape)
    if not loss.energies:
        raise InputError(
            f"model.critic=autoencoder returns energies, low for real samples, but loss={name} reads scores, high for "
            "real samples; take loss=energy_based or boundary_equilibrium, or another critic."
        )
    coder = checked(AutoencoderCriticConfig, own, "model.critic")
    network = architecture(coder.network or config.network, "model.critic.network")
    codes = coder.codes or config.noise_dim
    decoder = network.generator(codes, shape, bounded=False)
    return AutoencoderCritic(_coder(network, shape, codes), decoder, power=coder.power)


def _coder(network: Architecture, shape: tuple[int, ...], codes: int) -> nn.Module:
    """Makes an encoder to codes `(batch, codes)`; a critic with one output has no axis for it."""
    critic = network.critic(shape, outputs=codes)
    return critic if codes > 1 else nn.Sequential(critic, nn.Unflatten(0, (-1, 1)))


def _vae(
    recipe: Recipe, dataset: Dataset, loss: Any, restraints: Sequence[Restraint]
) -> tuple[VAE | QuantisedVAE, Recipe]:
    config = recipe.model
    network, opponent = _networks(recipe)
    likelihood = choose_likelihood(recipe, dataset)
    update: dict[str, Any] = {"likelihood": plain(likelihood)}
    value_range = dataset.value_range or (0.0, 1.0)
    if isinstance(loss, VectorQuantised):
        book, encoder = _codebook(recipe, loss), _coder(opponent, dataset.shape, config.noise_dim)
        generator = _decoder(recipe, network, dataset, likelihood.parameters_per_value)
        update["codebook"] = config.codebook or CodebookConfig()
        model: VAE | QuantisedVAE = QuantisedVAE(
            encoder, generator, loss, likelihood, book, value_range=value_range, penalties=restraints
        )
    else:
        if config.codebook is not None:
            raise InputError("model.codebook belongs to loss=vector_quantised; leave it out.")
        if config.encoder is not None:
            inference: nn.Module = _two_layer(config.encoder, dataset.shape, config.noise_dim)
        else:
            inference = GaussianInference(opponent.critic(dataset.shape, outputs=2 * config.noise_dim))
        generator = _decoder(recipe, network, dataset, likelihood.parameters_per_value)
        prior = Prior(config.prior, config.noise_dim)
        model = VAE(inference, generator, loss, likelihood, prior, value_range=value_range, penalties=restraints)
    return model, recipe.model_copy(update={"model": config.model_copy(update=update)})


def _decoder(recipe: Recipe, network: Architecture, dataset: Dataset, values: int) -> nn.Module:
    return network.generator(recipe.model.noise_dim, dataset.shape, values=values, bounded=False)


def _codebook(recipe: Recipe, loss: VectorQuantised) -> Codebook:
    config = recipe.model
    book = config.codebook or CodebookConfig()
    for key, default in (("prior", "normal"), ("encoder", None)):
        if getattr(config, key) != default:
            raise InputError(f"model.{key} has no meaning with loss=vector_quantised, whose latents are codes.")
    if config.noise_dim % book.dim:
        raise InputError(
            f"model.noise_dim is {config.noise_dim}, which codes of dimension {book.dim} do not fill; set "
            "model.codebook={dim: ...} to a divisor of it."
        )
    return Codebook(book.codes, book.dim, config.noise_dim // book.dim, loss)


def _two_layer(specification: Mapping[str, Any], shape: tuple[int, ...], latent: int) -> nn.Module:
    fields = to_mapping(specification, "model.encoder")
    if fields.pop("name") != "two_layer" or set(fields) - {"width"}:
        raise InputError(f"model.encoder is {specification!r}, expected {{name: two_layer, width: 512}}.")
    return TwoLayerInference(shape, latent, **fields)


def _matching(recipe: Recipe, dataset: Dataset, loss: Any, restraints: Sequence[Restraint]) -> MomentMatching:
    config = recipe.model
    network, opponent = _networks(recipe)
    prior = Prior(config.prior, config.noise_dim)
    if config.codes is None:
        generator = _into_range(network, config.noise_dim, dataset)
        return MomentMatching(generator, loss, prior, penalties=restraints)
    coder = Autoencoder(_coder(opponent, dataset.shape, config.codes), _into_range(network, config.codes, dataset))
    codes = network if isinstance(network, MLP) else MLP(width=256, depth=3)
    generator = codes.generator(config.noise_dim, (config.codes,), bounded=False)
    turns = config.codes_steps
    turns = round(turns * recipe.train.steps) if isinstance(turns, float) and turns <= 1 else round(turns)
    return MomentMatching(
        generator, loss, prior, autoencoder=coder, autoencoder_turns=max(1, turns), penalties=restraints
    )
