"""The importance-weighted log-likelihood of MNIST against `get_nll` of pythae 0.1.2: samples a second."""

from __future__ import annotations

import importlib
import math
import statistics
from argparse import Namespace
from functools import partial
from typing import Any

import torch
from _report import arguments, fetch_peer, interleave, memory_peak, table, write_section
from torch import Tensor, nn

from genloss.data import load_data
from genloss.losses import ELBO, Bernoulli, DiagonalNormal
from genloss.metrics import importance_estimates

PEER = "pythae==0.1.2"
IMAGES = 4  # of one timed run
SAMPLES = 5000
LATENT = 50
COUNTS = (SAMPLES, 10 * SAMPLES, 100 * SAMPLES)  # whose memory is compared
TRAINING = 300  # steps of 100 images, so that both estimate something that can be estimated
DECODED = {"cpu": 1000, "cuda": 50_000}  # latents at a time


class Ours:
    """The networks, and the estimate of their log-likelihood."""

    def __init__(self, options: Namespace) -> None:
        torch.manual_seed(options.seed)
        self.encoder, self.decoder = (
            _perceptron(*sizes).to(options.device) for sizes in ((784, 2 * LATENT), (LATENT, 784))
        )
        self.rng = torch.Generator(options.device).manual_seed(options.seed)
        self.batch_size = DECODED[options.device]

    def infer(self, x: Tensor) -> DiagonalNormal:
        """Returns q(z|x)."""
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        return DiagonalNormal(mean=mean, log_variance=log_variance)

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """Returns log p(x|z)."""
        return Bernoulli().log_prob(x, self.decoder(z))

    def log_joint(self, x: Tensor, z: Tensor) -> Tensor:
        """Returns log p(x, z)."""
        log_prior = -0.5 * (z.square().sum(-1) + LATENT * math.log(2.0 * math.pi))
        return self.log_likelihood(x, z) + log_prior

    def train(self, images: Tensor) -> None:
        """Makes some steps up the evidence lower bound."""
        adam = torch.optim.Adam([*self.encoder.parameters(), *self.decoder.parameters()], 3e-3)
        for x in images.split(len(images) // TRAINING):
            posterior = self.infer(x)
            z = posterior.sample(self.rng, 1)
            prior = DiagonalNormal.standard_like(posterior)
            adam.zero_grad()
            ELBO()(posterior, prior, z, self.log_likelihood(x, z)).surrogate.mean().backward()
            adam.step()

    def nll(self, x: Tensor, samples: int) -> float:
        """Returns the mean negative log-likelihood."""
        found = importance_estimates(
            x, self.infer, self.log_joint, rng=self.rng, samples=samples, batch_size=self.batch_size
        )
        return -float(found.log_likelihood.mean())


def main() -> None:
    """Times both on the same networks, images and number of samples, and looks at our memory as the samples grow."""
    options = arguments(main.__doc__ or "", rounds=15)
    ours = Ours(options)
    ours.train(_images("train", 100 * TRAINING, options))
    x = _images("test", IMAGES, options)
    peer = _peer(ours)
    found: dict[str, list[float]] = {PEER: [], f"{PEER}, no_grad": [], "genloss": []}

    def theirs() -> None:
        found[PEER].append(-float(peer.get_nll(x, n_samples=SAMPLES)))

    def theirs_without_gradient() -> None:
        with torch.no_grad():
            found[f"{PEER}, no_grad"].append(-float(peer.get_nll(x, n_samples=SAMPLES)))

    def own() -> None:
        found["genloss"].append(ours.nll(x, SAMPLES))

    sides = dict(zip(found, (theirs, theirs_without_gradient, own), strict=True))
    timings = interleave(sides, options.rounds, options.device)
    rows = [
        (
            side,
            f"{IMAGES * SAMPLES / statistics.median(timings.wall[side]):,.0f}",
            timings.ratio(PEER, side),
            timings.ratio(PEER, side, cpu=True),
            f"{statistics.median(found[side]):.2f}",
        )
        for side in sides
    ]
    text = (
        f"A 784-200-200-{LATENT} VAE of tanh perceptrons with a Bernoulli decoder after {TRAINING} steps; {SAMPLES} "
        f"samples for each of {IMAGES} binarised test images of MNIST, float32. The peer runs `get_nll` at its default "
        "batch, as it is and with `torch.no_grad()` around it, which it leaves to its caller; ours decodes "
        f"{DECODED[options.device]} latents at a time. The last column is the mean negative log-likelihood, of "
        "draws of their own. Goal: at least 3 times its samples a second.\n\n"
    )
    text += table(("", "samples a second", "times the peer, wall", "CPU time", "nats"), rows)
    if options.device == "cpu":
        peaks = [(f"{n:,}", f"{memory_peak(partial(ours.nll, x, n)) / 2**20:.1f}") for n in COUNTS]
        text += "\n\nOur peak of resident memory above what was held before. Goal: independent of the samples.\n\n"
        text += table(("samples", "MiB"), peaks)
    write_section("Importance-weighted log-likelihood against pythae", text, options)


def _perceptron(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, 200), nn.Tanh(), nn.Linear(200, 200), nn.Tanh(), nn.Linear(200, outputs))


def _images(split: str, count: int, options: Namespace) -> Tensor:
    dataset = load_data("mnist")
    low, high = dataset.value_range or (0.0, 1.0)
    grey = (dataset.batch(split, torch.arange(count)).x.flatten(1).to(options.device) - low) / (high - low)
    return torch.bernoulli(grey, generator=torch.Generator(options.device).manual_seed(options.seed))


def _peer(ours: Ours) -> Any:
    """Returns a model of the peer's that holds our networks."""
    fetch_peer("pythae", PEER)  # without torchvision, which it asks for and does not import here
    models, parts = importlib.import_module("pythae.models"), importlib.import_module("pythae.models.nn")
    output = importlib.import_module("pythae.models.base.base_utils").ModelOutput

    class Encoder(parts.BaseEncoder):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = ours.encoder

        def forward(self, x: Tensor) -> Any:
            mean, log_variance = self.network(x).chunk(2, dim=1)
            return output(embedding=mean, log_covariance=log_variance)

    class Decoder(parts.BaseDecoder):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = ours.decoder

        def forward(self, z: Tensor) -> Any:
            return output(reconstruction=self.network(z).sigmoid())

    config = models.VAEConfig(input_dim=(784,), latent_dim=LATENT, reconstruction_loss="bce")
    return models.VAE(config, encoder=Encoder(), decoder=Decoder())


if __name__ == "__main__":
    main()
