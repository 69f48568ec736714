"""The MMD, forward and backward, against geomloss 0.3.1; and its memory at 50,000 samples."""

from __future__ import annotations

import importlib
import statistics
import time
from argparse import Namespace
from collections.abc import Callable

import torch
from _report import arguments, interleave, memory_peak, table, write_section
from torch import Tensor

from genloss.losses import MMD

SAMPLES, FEATURES = 4000, 64
BANDWIDTH = 8.0
MANY = 50_000
GROWTH = (12_500, 25_000, MANY)


def main() -> None:
    """Times the same value and gradient of both, then one call of ours on sets whose kernel matrix would not fit."""
    options = arguments(main.__doc__ or "", rounds=15)
    geomloss = importlib.import_module("geomloss")
    _large(1000, options)  # what libraries allocate once
    memory = [_large(count, options) for count in GROWTH]
    loss = MMD(bandwidths=(BANDWIDTH,), estimator="biased")
    peer = geomloss.SamplesLoss("gaussian", blur=BANDWIDTH, backend="tensorized")
    rows = []
    for case, both in (("x", False), ("x and y", True)):
        x, y = _sets(SAMPLES, options, both=both)
        # geomloss returns half of the squared discrepancy.
        sides = {"geomloss": _run(lambda a, b: 2.0 * peer(a, b), x, y), "genloss": _run(loss, x, y)}
        exact = loss(x.detach().double(), y.detach().double()).item()
        errors = [abs(value.item() - exact) for value in (2.0 * peer(x, y), loss(x, y))]
        timings = interleave(sides, options.rounds, options.device)
        rows.append(
            (
                case,
                *(f"{statistics.median(timings.wall[side]):.3f}" for side in sides),
                timings.ratio("geomloss", "genloss"),
                timings.ratio("geomloss", "genloss", cpu=True),
                *(f"{error:.0e}" for error in errors),
            )
        )
    text = (
        f"Gaussian kernel of bandwidth {BANDWIDTH:g}, biased estimate, {SAMPLES} samples of {FEATURES} features on "
        "either side, float32, value and gradient; geomloss with its tensorised backend. Errors of the value are "
        "absolute, against ours in float64. Goal: at least as fast.\n\n"
    )
    head = (
        "gradient in",
        "geomloss, s",
        "genloss, s",
        "times faster, wall",
        "CPU time",
        "error of geomloss",
        "of genloss",
    )
    text += table(head, rows)
    text += (
        f"\n\nOne call of ours on more samples, value and gradient in x. One matrix of all pairs of {MANY} samples "
        f"takes {4 * MANY**2 / 2**30:.1f} GiB, and the dense form keeps several. Goal: under 2 GiB, linear in the "
        "samples.\n\n"
    )
    text += table(("samples", "features", "peak above the inputs, MiB", "seconds"), memory)
    write_section("MMD against geomloss", text, options)


def _sets(count: int, options: Namespace, *, both: bool) -> tuple[Tensor, Tensor]:
    rng = torch.Generator(options.device).manual_seed(options.seed)
    x, y = (torch.randn(count, FEATURES, generator=rng, device=options.device) for _ in range(2))
    return x.requires_grad_(), (1.1 * y + 0.1).requires_grad_(both)


def _run(loss: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor) -> Callable[[], None]:
    wanted = [samples for samples in (x, y) if samples.requires_grad]

    def run() -> None:
        torch.autograd.grad(loss(x, y), wanted)

    return run


def _large(count: int, options: Namespace) -> tuple[str, int, str, str]:
    x, y = _sets(count, options, both=False)
    begin = time.perf_counter()
    work = _run(MMD(bandwidths=(BANDWIDTH,)), x, y)
    if options.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        peak = torch.cuda.max_memory_allocated() - before
    else:
        peak = memory_peak(work)
    return f"{count:,}", FEATURES, f"{peak / 2**20:.0f}", f"{time.perf_counter() - begin:.1f}"


if __name__ == "__main__":
    main()
