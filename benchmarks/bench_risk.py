"""Minimum risk with the edit distance: milliseconds for costs and weights together."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable

import torch
from _report import Estimate, arguments, estimate, interleave, table, write_section
from torch import Tensor

from genloss.losses import EditDistance, MinimumRisk, token_costs

BATCH, SAMPLES, LENGTH, VOCABULARY = 64, 5, 30, 1000
END = 0
CHANGED = 0.3  # of the target's tokens, in samples of a model that has learned something
CALLS = 20  # of one timed run


def main() -> None:
    """Times the costs, the weights, and both, on samples near their target and on unrelated ones."""
    options = arguments(main.__doc__ or "", rounds=40)
    rows = [
        (name, *_row(changed, options)) for name, changed in (("near their target", CHANGED), ("unrelated to it", 1.0))
    ]
    text = (
        f"Batch {BATCH}, {SAMPLES} samples for each target, all of {LENGTH} tokens of {VOCABULARY}, without an end "
        "token before the last; milliseconds on the wall. The costs are edit distances of rapidfuzz. The weights are "
        "`MinimumRisk` forward and backward to the samples' log-probabilities. Goal: under 5 together.\n\n"
    )
    write_section("Minimum risk", text + table(("samples", "costs", "weights", "together"), rows), options)


def _row(changed: float, options: Namespace) -> list[str]:
    rng = torch.Generator().manual_seed(options.seed)
    targets = torch.randint(1, VOCABULARY, (BATCH, LENGTH), generator=rng)
    other = torch.randint(1, VOCABULARY, (BATCH, SAMPLES, LENGTH), generator=rng)
    keep = torch.rand(other.shape, generator=rng) >= changed
    samples = torch.where(keep, targets[:, None], other)
    samples[..., -1], targets[..., -1] = END, END
    samples, targets = samples.to(options.device), targets.to(options.device)
    log_probs = -30.0 * torch.rand(BATCH, SAMPLES, generator=rng).to(options.device)
    known = token_costs(EditDistance(), samples, targets, END)
    loss = MinimumRisk(alpha=0.1)

    def costs() -> Tensor:
        return token_costs(EditDistance(), samples, targets, END)

    def weights(costs: Tensor) -> None:
        leaf = log_probs.clone().requires_grad_()
        loss(leaf, costs).mean().backward()

    work: dict[str, Callable[[], object]] = {
        "costs": costs,
        "weights": lambda: weights(known),
        "together": lambda: weights(costs()),
    }
    timings = interleave({name: _often(call) for name, call in work.items()}, options.rounds, options.device)
    return [_milliseconds(estimate(timings.wall[name])) for name in work]


def _often(call: Callable[[], object]) -> Callable[[], None]:
    def run() -> None:
        for _ in range(CALLS):
            call()

    return run


def _milliseconds(value: Estimate) -> str:
    median, low, high = (seconds / CALLS * 1e3 for seconds in (value.median, value.low, value.high))
    return f"{median:.2f} [{low:.2f}, {high:.2f}]"


if __name__ == "__main__":
    main()
