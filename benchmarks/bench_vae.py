"""A VAE on MNIST against the trainer of pythae 0.1.2: images a second."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import statistics
import tempfile
from argparse import Namespace
from collections.abc import Callable

import torch
from _report import arguments, fetch_peer, interleave, table, turns, write_section
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from genloss.data import load_data
from genloss.runs.build import build
from genloss.runs.recipes import read_recipe

PEER = "pythae==0.1.2"
IMAGES = 128 * 80  # of one timed run
BATCH = 128


def main() -> None:
    """Times both trainers on the same network, images, loss, batch and optimiser."""
    options = arguments(main.__doc__ or "", rounds=15)
    with tempfile.TemporaryDirectory() as runs:
        sides = {
            f"pythae {PEER.partition('==')[2]}": pythae_side(options, runs),
            "genloss, default": genloss_side(options, runs, "auto"),
            "genloss, float32": genloss_side(options, runs, "float32"),
            "torch alone, bfloat16": bare(options),
        }
        timings = interleave(sides, options.rounds, options.device)
    peer = next(iter(sides))
    rows = [
        (
            name,
            f"{IMAGES / statistics.median(timings.wall[name]):,.0f}",
            timings.ratio(peer, name),
            timings.ratio(peer, name, cpu=True),
        )
        for name in sides
    ]
    text = (
        "784-512-16-512-784 perceptrons, ReLU, grey pixels as probabilities, Bernoulli decoder, one latent sample, "
        f"batch {BATCH}, Adam at 0.001; {IMAGES} images of MNIST a run. The peer is driven through its own "
        "`BaseTrainer.train_step`, in float32; our default for layers so wide is bfloat16 where the processor has it. "
        "`torch alone` is the same update written out with torch and nothing else, no trainer at all: what is left "
        "above it is ours to gain. Goal: at least 2.3 times the peer's images a second.\n\n"
    )
    head = ("", "images a second", "times the peer, wall", "CPU time")
    write_section("VAE against pythae", text + table(head, rows), options)


def genloss_side(options: Namespace, runs: str, precision: str) -> Callable[[], None]:
    """Returns a run of the recipe `mnist_vae` with the peer's network and likelihood."""
    overrides = (
        f"device={options.device} seed={options.seed} threads={options.threads} precision={precision} "
        f"runs_dir={runs} data.binarise=none "
        "model.network.width=512 model.network.depth=1 model.network.activation=relu model.noise_dim=16 "
        "model.prior=normal model.likelihood=bernoulli loss=elbo train.optimizer=adam train.ema=null "
        f"train.batch_size={BATCH} train.learning_rate=0.001 train.log_every={IMAGES // BATCH} train.steps=1000000"
    )
    built = build(read_recipe("mnist_vae", overrides.split())[0])
    return turns(built, IMAGES // BATCH)


def bare(options: Namespace) -> Callable[[], None]:
    """Returns as many updates written out with torch alone: autocast, fused Adam, cross-entropy of logits."""
    device, latent = options.device, 16
    torch.manual_seed(options.seed)
    encoder = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 2 * latent)).to(device)
    decoder = nn.Sequential(nn.Linear(latent, 512), nn.ReLU(), nn.Linear(512, 784)).to(device)
    adam = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], 1e-3, fused=True)
    store = load_data("mnist").to(device).splits["train"]

    def run() -> None:
        for indices in torch.randperm(len(store))[:IMAGES].split(BATCH):
            x = store.take(indices)[0].flatten(1).float().div_(255)
            with torch.autocast(device, dtype=torch.bfloat16):
                mean, log_variance = encoder(x).float().chunk(2, 1)
                z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
                logits = decoder(z).float()
            cost = binary_cross_entropy_with_logits(logits, x, reduction="sum")
            divergence = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1.0).sum()
            adam.zero_grad()
            ((cost + divergence) / BATCH).backward()
            adam.step()

    return run


def pythae_side(options: Namespace, runs: str) -> Callable[[], None]:
    """Returns an epoch of the peer's trainer over as many images."""
    fetch_peer("pythae", PEER)  # without torchvision, which it asks for and does not import here
    logging.disable(logging.INFO)
    models = importlib.import_module("pythae.models")
    trainers = importlib.import_module("pythae.trainers")
    datasets = importlib.import_module("pythae.data.datasets")
    dataset = load_data("mnist")
    low, high = dataset.value_range or (0.0, 1.0)
    images = (dataset.batch("train", torch.arange(IMAGES)).x - low) / (high - low)
    torch.manual_seed(options.seed)
    model = models.VAE(models.VAEConfig(input_dim=(1, 28, 28), latent_dim=16, reconstruction_loss="bce"))
    config = trainers.BaseTrainerConfig(
        output_dir=runs,
        learning_rate=1e-3,
        per_device_train_batch_size=BATCH,
        optimizer_cls="Adam",
        no_cuda=options.device == "cpu",
        seed=options.seed,
    )
    trainer = trainers.BaseTrainer(model, datasets.BaseDataset(images, torch.zeros(IMAGES)), training_config=config)
    trainer.prepare_training()
    epoch = 0

    def run() -> None:
        nonlocal epoch
        epoch += 1
        with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
            trainer.train_step(epoch)

    return run


if __name__ == "__main__":
    main()
