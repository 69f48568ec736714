"""What the training loop, its events and its listeners cost over the bare tensor operations of a 2-D GAN."""

from __future__ import annotations

import tempfile
from collections.abc import Callable

import torch
from _report import Estimate, arguments, interleave, table, turns, write_section
from torch import Tensor, nn
from torch.nn.functional import softplus

from genloss.runs.build import Built, build
from genloss.runs.folder import RunFolder
from genloss.runs.listeners import MetricsFile, TensorBoard
from genloss.runs.recipes import read_recipe

TURNS = 100  # of one timed run
BATCH = 256


def main() -> None:
    """Times the bare step, the loop, and the loop with the listeners of a run."""
    options = arguments(main.__doc__ or "", rounds=40)
    with tempfile.TemporaryDirectory() as runs:
        listened = _built(options.device, options.seed, options.threads, runs)
        folder = RunFolder.create(listened.recipe, listened.dataset, {})
        sides = {
            "bare": bare(options.device, options.seed),
            "loop": turns(_built(options.device, options.seed, options.threads, runs), TURNS),
            "listeners": turns(listened, TURNS, [MetricsFile(folder), TensorBoard(folder, 0)]),
        }
        timings = interleave(sides, options.rounds, options.device)
    rows = [
        (name, _percent(timings.ratio(side, "bare")), _percent(timings.ratio(side, "bare", cpu=True)))
        for side, name in (
            ("loop", "the loop: events, gradient norms, statistics read every 50 turns"),
            ("listeners", "the loop with metrics file and TensorBoard"),
        )
    ]
    text = (
        f"A GAN on the ring of 8 Gaussians, perceptrons of 3 x 128, batch {BATCH}, one update each a turn, fused Adam, "
        f"{TURNS} turns a run. The bare side is the same step written out with torch alone. Goal: under 10 %.\n\n"
    )
    head = ("more time than the bare step", "wall", "CPU time")
    write_section("What the loop costs", text + table(head, rows), options)


def _percent(ratio: Estimate) -> str:
    median, low, high = ((value - 1) * 100 for value in (ratio.median, ratio.low, ratio.high))
    return f"{median:+.1f} % [{low:+.1f}, {high:+.1f}]"


def _built(device: str, seed: int, threads: int, runs: str) -> Built:
    recipe, _ = read_recipe(
        "ring_gan",
        f"device={device} seed={seed} threads={threads} runs_dir={runs} loss=non_saturating penalties=[] "
        "model.network.width=128 model.network.depth=3 model.network.activation=relu "
        f"train.batch_size={BATCH} train.optimizer=adam train.learning_rate=0.001 train.betas=[0.0,0.999] "
        "train.ema=null train.log_every=50".split(),
    )
    return build(recipe.model_copy(update={"train": recipe.train.model_copy(update={"steps": 10**9})}))


def bare(device: str, seed: int) -> Callable[[], None]:
    """Returns the same turns with nothing but torch: no events, no statistics, no names."""
    built = _built(device, seed, torch.get_num_threads(), ".")
    generator, critic = built.state.model.generator, built.state.model.discriminator
    assert isinstance(generator, nn.Module)
    assert isinstance(critic, nn.Module)
    data = built.dataset.all("train").x
    rng = torch.Generator(device).manual_seed(seed)
    adam = [torch.optim.Adam(module.parameters(), 0.001, (0.0, 0.999), fused=True) for module in (critic, generator)]
    order, begin = torch.randperm(len(data), device=device), 0

    def batch() -> Tensor:
        nonlocal order, begin
        if begin + BATCH > len(data):
            order, begin = torch.randperm(len(data), device=device), 0
        begin += BATCH
        return data[order[begin - BATCH : begin]]

    def noise() -> Tensor:
        return torch.randn(BATCH, 2, generator=rng, device=device)

    def turn() -> None:
        x = batch()
        generator.requires_grad_(False)
        critic.requires_grad_(True)
        real, fake = critic(torch.cat((x, generator(noise())))).chunk(2)
        loss = (softplus(-real) + softplus(fake)).mean()
        adam[0].zero_grad()
        loss.backward()
        adam[0].step()
        generator.requires_grad_(True)
        critic.requires_grad_(False)
        loss = softplus(-critic(generator(noise()))).mean()
        adam[1].zero_grad()
        loss.backward()
        adam[1].step()

    def run() -> None:
        for _ in range(TURNS):
            turn()

    return run


if __name__ == "__main__":
    main()
