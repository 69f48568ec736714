"""Optimal transport distances: exact in one dimension and for small sets, entropic, and sliced."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from genloss.losses._fields import at_least, positive, true_or_false
from genloss.losses._pairwise import with_gradient
from genloss.losses._references import NNDL
from genloss.losses._sinkhorn import diameter, solve
from genloss.losses.card import Card, Reference
from genloss.losses.distances import SampleDistance

__all__ = ["EarthMover", "Sinkhorn", "SinkhornSolution", "SlicedWasserstein", "Wasserstein1D"]

_LARGEST = 1 << 20  # pairs that the exact solver accepts: some seconds
_LARGEST_UNEQUAL = 1 << 18  # of sets of different sizes, which need a linear programme

_PEYRE_2019 = Reference(
    authors="Peyre, Cuturi",
    year=2019,
    title="Computational Optimal Transport",
    venue="Foundations and Trends in Machine Learning",
    url="https://arxiv.org/abs/1803.00567",
)


def _quantile_cost(x: Tensor, y: Tensor, p: float) -> Tensor:
    """Returns $W_p^p$ of each column of `x` `(n, k)` and `y` `(m, k)`: the quantiles' cost, integrated over levels."""
    x, y = x.sort(dim=0).values, y.sort(dim=0).values
    n, m = len(x), len(y)
    if n == m:
        return (x - y).abs().pow(p).mean(0)
    # Levels in units of 1 / (n m), where both empirical quantile functions jump at integers.
    edges: Tensor = torch.cat((torch.arange(0, n + 1) * m, torch.arange(1, m) * n)).unique()
    left, widths = edges[:-1], edges.diff().to(x.dtype) / (n * m)
    rows_x, rows_y = (left // m).to(x.device), (left // n).to(x.device)
    return ((x[rows_x] - y[rows_y]).abs().pow(p) * widths.to(x.device)[:, None]).sum(0)


def _root(value: Tensor, p: float) -> Tensor:
    """Returns `value ** (1 / p)` with gradient 0 at 0."""
    if p == 1.0:
        return value
    tiny = torch.finfo(value.dtype).tiny
    # NaN is not below, and stays.
    return torch.where(value <= tiny, torch.zeros_like(value), value.clamp(min=tiny).pow(1.0 / p))


def _check_order(p: float) -> None:
    positive(p=p)
    if p < 1.0:
        raise ValueError(f"p is {p}, expected at least 1: below, the cost is no longer convex.")


@dataclass(frozen=True, kw_only=True)
class Wasserstein1D(SampleDistance):
    r"""The Wasserstein distance of two sets of numbers, exact.

    $$W_p=\Big(\int_0^1|F_x^{-1}(t)-F_y^{-1}(t)|^p\,dt\Big)^{1/p}$$

    The rooted $W_p$, not $W_p^p$. Use it for one-dimensional data, as an oracle, or on one feature. It takes sorting
    only, and sets of different sizes. It is biased: two sets from one distribution are a positive distance apart.

    Args:
        p: order of the cost, at least 1.

    Raises:
        ValueError: a field is out of its range, or samples have more than one feature.

    Example:
        >>> Wasserstein1D()(torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0], [2.0], [3.0], [3.0]]))
        tensor(2.)

    Source: Peyre & Cuturi 2019, equation 2.36.
    """

    card: ClassVar[Card] = Card(
        name="wasserstein_1d",
        formula={"generator": r"\Big(\int_0^1|F_x^{-1}(t)-F_y^{-1}(t)|^p\,dt\Big)^{1/p}"},
        minimised_by="The generator minimises the distance between its samples and real ones; there is no critic.",
        when="For one-dimensional data: exact, and as fast as sorting.",
        fails="Takes one feature only. Biased: equal distributions are a positive distance apart in finite samples.",
        references=(_PEYRE_2019.at("(2.36)"),),
    )

    p: float = 1.0

    def __post_init__(self) -> None:
        _check_order(self.p)

    def _distance(self, x: Tensor, y: Tensor, rng: torch.Generator | None) -> Tensor:
        if x.shape[1] != 1:
            raise ValueError(f"samples have {x.shape[1]} features, expected 1; use SlicedWasserstein for more.")
        return _root(_quantile_cost(x, y, self.p)[0], self.p)


@dataclass(frozen=True, kw_only=True)
class SlicedWasserstein(SampleDistance):
    r"""The Wasserstein distance averaged over random one-dimensional projections.

    $$SW_p=\Big(E_{\theta\sim U(S^{d-1})}W_p^p(\theta^\top x,\theta^\top y)\Big)^{1/p}$$

    The rooted $SW_p$, estimated with fresh projections each call. Use it for large batches: the cost is a sort for each
    projection. It fails in many dimensions, where few random directions show a difference; and like every empirical
    transport distance it is positive between two sets of one distribution.

    Args:
        p: order of the cost, at least 1.
        projections: number of random directions, at least 1.

    Raises:
        ValueError: a field is out of its range, or no `rng`.

    Example:
        >>> x = torch.zeros(4, 3)
        >>> SlicedWasserstein(projections=8)(x, x, rng=torch.Generator().manual_seed(0))
        tensor(0.)

    Source: Bonneel et al. 2015, definition 3; Peyre & Cuturi 2019, section 10.4.
    """

    card: ClassVar[Card] = Card(
        name="sliced_wasserstein",
        aliases=("swd",),
        formula={"generator": r"\big(E_\theta W_p^p(\theta^\top x,\theta^\top y)\big)^{1/p}"},
        minimised_by="The generator minimises the distance between its samples and real ones; there is no critic.",
        when="For large batches in few dimensions: a sort for each projection.",
        fails="In many dimensions few random directions show a difference; biased in finite samples.",
        references=(
            Reference(
                authors="Bonneel, Rabin, Peyre, Pfister",
                year=2015,
                title="Sliced and Radon Wasserstein Barycenters of Measures",
                venue="Journal of Mathematical Imaging and Vision",
                url="https://doi.org/10.1007/s10851-014-0506-3",
                equation="definition 3",
            ),
            _PEYRE_2019.at("section 10.4"),
        ),
    )
    random: ClassVar[bool] = True

    p: float = 2.0
    projections: int = 128

    def __post_init__(self) -> None:
        _check_order(self.p)
        at_least(1, projections=self.projections)

    def _distance(self, x: Tensor, y: Tensor, rng: torch.Generator | None) -> Tensor:
        directions = torch.empty(x.shape[1], self.projections, dtype=x.dtype, device=x.device).normal_(generator=rng)
        directions = directions / directions.norm(dim=0)
        with torch.autocast(x.device.type, enabled=False):
            cost = _quantile_cost(x @ directions, y @ directions, self.p)
        return _root(cost.mean(), self.p)


@dataclass(frozen=True, kw_only=True)
class EarthMover(SampleDistance):
    r"""The Wasserstein distance of two small sets, exact: the primal linear programme.

    $$W_p=\Big(\min_{\gamma\in\Pi(x,y)}\sum_{ij}\gamma_{ij}\lVert x_i-y_j\rVert^p\Big)^{1/p}$$

    The rooted $W_p$; for $p=1$ the earth mover's distance. Use it to check other distances and critics, or as a metric
    on some hundred samples. The plan is found on the processor, outside the graph, and the gradient is the one at this
    plan. It fails for large sets: the time grows with the third power.

    Args:
        p: order of the cost, at least 1.

    Raises:
        ValueError: a field is out of its range, or more than 1048576 pairs (262144 of sets of different sizes).

    Example:
        >>> EarthMover()(torch.tensor([[0.0, 0.0], [1.0, 0.0]]), torch.tensor([[1.0, 3.0], [0.0, 3.0]]))
        tensor(3.)

    Source: Qiu 2020, equation 13.51; Peyre & Cuturi 2019, equation 2.11.
    """

    card: ClassVar[Card] = Card(
        name="earth_mover",
        aliases=("emd",),
        formula={"generator": r"\big(\min_{\gamma\in\Pi}\sum_{ij}\gamma_{ij}\lVert x_i-y_j\rVert^p\big)^{1/p}"},
        minimised_by="The generator minimises the distance between its samples and real ones; there is no critic.",
        when="To check other distances or a critic on small sets: it is exact.",
        fails="Time grows with the third power of the number of samples; biased in finite samples.",
        references=(_PEYRE_2019.at("(2.11)"), NNDL.at("(13.51)")),
    )

    p: float = 1.0

    def __post_init__(self) -> None:
        _check_order(self.p)

    def _distance(self, x: Tensor, y: Tensor, rng: torch.Generator | None) -> Tensor:
        most = _LARGEST if len(x) == len(y) else _LARGEST_UNEQUAL
        if len(x) * len(y) > most:
            raise ValueError(
                f"the exact solver got {len(x)} x {len(y)} pairs, expected at most {most}; use Sinkhorn or "
                f"SlicedWasserstein, or fewer samples."
            )
        with torch.no_grad():
            cost = torch.cdist(x.double(), y.double(), compute_mode="donot_use_mm_for_euclid_dist").pow(self.p)
            # Without finite costs no plan is the best: any will do, for the value is not finite either.
            rows, columns, mass = _optimal_plan(cost.nan_to_num(0.0, 0.0, 0.0).cpu())
        moved = torch.linalg.vector_norm(x[rows.to(x.device)] - y[columns.to(x.device)], dim=1)
        return _root((mass.to(x) * moved.pow(self.p)).sum(), self.p)


def _optimal_plan(cost: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the rows, columns and masses of an optimal plan between uniform weights."""
    # Imported here: the losses need torch alone, and only this one needs a solver.
    from scipy.optimize import linear_sum_assignment, linprog
    from scipy.sparse import eye_array, kron, vstack

    n, m = cost.shape
    if n == m:
        rows, columns = linear_sum_assignment(cost.numpy())
        return torch.from_numpy(rows), torch.from_numpy(columns), torch.full((n,), 1.0 / n, dtype=torch.float64)
    ones = torch.ones
    sums = vstack((kron(eye_array(n), ones(1, m).numpy()), kron(ones(1, n).numpy(), eye_array(m))), format="csr")
    marginals = torch.cat((ones(n).double() / n, ones(m).double() / m))
    # One marginal follows from the others; leaving it out keeps rounding from making the programme infeasible.
    found = linprog(cost.flatten().numpy(), A_eq=sums[:-1], b_eq=marginals[:-1].numpy(), method="highs")
    if found.status != 0:
        raise RuntimeError(f"the linear programme of {n} x {m} pairs was not solved: {found.message}")
    plan = torch.from_numpy(found.x).reshape(n, m)
    rows_kept, columns_kept = torch.nonzero(plan > 0.0, as_tuple=True)
    return rows_kept, columns_kept, plan[rows_kept, columns_kept]


@dataclass(frozen=True, kw_only=True, eq=False)
class SinkhornSolution:
    """A Sinkhorn distance and whether its iteration converged.

    Args:
        value: the distance, a scalar with gradient.
        converged: every inner problem reached the tolerance.
        marginal_error: the largest total variation between a plan's marginal and the weights.
        iterations: the largest number of iterations of an inner problem.
    """

    value: Tensor
    converged: bool
    marginal_error: float
    iterations: int


@dataclass(frozen=True, kw_only=True)
class Sinkhorn(SampleDistance):
    r"""Entropic optimal transport, debiased: between the Wasserstein distance and an energy distance.

    $$S_\varepsilon=OT_\varepsilon(x,y)-\tfrac12OT_\varepsilon(x,x)-\tfrac12OT_\varepsilon(y,y),\quad
    OT_\varepsilon=\min_\gamma\langle\gamma,C\rangle+\varepsilon KL(\gamma\Vert a\otimes b)$$

    with $C=\lVert x-y\rVert^p/p$ and $\varepsilon=\mathrm{blur}^p$. For blur to 0 it tends to $W_p^p/p$, for a large
    blur to an MMD with kernel $-C$. Use it where a true transport gradient is wanted from batches of some hundred
    samples. It fails slowly: with a small blur it needs many iterations, and one that stops early gives a wrong value;
    then it warns, and `solve` says how far it got. Solved in the log domain with epsilon scaling; the gradient is that
    of the last step (the envelope theorem). Up to $2^{24}$ pairs are kept; beyond, memory is linear in the number of
    samples.

    Args:
        blur: the length below which differences are smoothed, in the units of the data, positive.
        p: order of the cost, 1 or 2.
        debias: subtract the self terms; without it, the minimum is not at equal sets.
        tolerance: total variation of the marginals at which the iteration stops.
        iterations: the most iterations at the final epsilon.

    Raises:
        ValueError: a field is out of its range.

    Example:
        >>> x = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
        >>> round(Sinkhorn(blur=0.1)(x, x + 2.0).item(), 4)
        4.0

    Source: Feydy et al. 2019, equation 3 and section 3; Cuturi 2013.
    """

    card: ClassVar[Card] = Card(
        name="sinkhorn",
        aliases=("sinkhorn_divergence",),
        formula={
            "generator": r"OT_\varepsilon(x,y)-\tfrac12OT_\varepsilon(x,x)-\tfrac12OT_\varepsilon(y,y),\ "
            r"C=\lVert x-y\rVert^p/p,\ \varepsilon=\mathrm{blur}^p"
        },
        minimised_by="The generator minimises the divergence between its samples and real ones; there is no critic.",
        when="For a transport gradient from batches of some hundred samples; blur is the length that matters.",
        fails="A small blur needs many iterations; stopped early, the value is wrong. It warns then.",
        references=(
            Reference(
                authors="Feydy, Sejourne, Vialard, Amari, Trouve, Peyre",
                year=2019,
                title="Interpolating between Optimal Transport and MMD using Sinkhorn Divergences",
                venue="AISTATS",
                url="https://arxiv.org/abs/1810.08278",
                equation="(3), section 3",
            ),
            Reference(
                authors="Cuturi",
                year=2013,
                title="Sinkhorn Distances: Lightspeed Computation of Optimal Transport",
                venue="NeurIPS",
                url="https://arxiv.org/abs/1306.0895",
            ),
        ),
    )

    blur: float = 0.5
    p: int = 2
    debias: bool = True
    tolerance: float = 1e-4
    iterations: int = 1000

    def __post_init__(self) -> None:
        positive(blur=self.blur, tolerance=self.tolerance)
        at_least(1, iterations=self.iterations)
        true_or_false(debias=self.debias)
        if self.p not in (1, 2):
            raise ValueError(f"p is {self.p}, expected 1 or 2.")

    def _distance(self, x: Tensor, y: Tensor, rng: torch.Generator | None) -> Tensor:
        solution = self._solve(x, y)
        if solution.marginal_error > self.tolerance:  # not for NaN, which the value shows
            warnings.warn(
                f"Sinkhorn stopped after {solution.iterations} iterations with a marginal error of "
                f"{solution.marginal_error:.2g}, expected {self.tolerance:.2g}: the value is not the distance. Raise "
                f"blur={self.blur} or iterations.",
                RuntimeWarning,
                stacklevel=3,
            )
        return solution.value

    def solve(self, x: Tensor, y: Tensor) -> SinkhornSolution:
        """Returns the distance of `x` `(n, ...)` and `y` `(m, ...)` and whether the iteration converged."""
        return self._solve(*self._prepared(x, y))

    def _solve(self, x: Tensor, y: Tensor) -> SinkhornSolution:
        grad = torch.is_grad_enabled()
        wants = (grad and x.requires_grad, grad and y.requires_grad)
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            # Near the origin the Gram expansion of distances does not cancel.
            centre = 0.5 * (x.mean(0) + y.mean(0))
            sets = (x - centre, y - centre)
            if self.blur > diameter(*sets):  # the value is a small difference of terms of the blur's size
                sets = (sets[0].double(), sets[1].double())
            found = [solve(*sets, self, wants)]
            value, gradients = found[0].value, [found[0].on_x, found[0].on_y]
            for side in (0, 1) if self.debias else ():
                found.append(solve(sets[side], None, self, (wants[side], False)))
                value = value - 0.5 * found[-1].value
                gradients[side] = gradients[side] - 0.5 * found[-1].on_x
        worst = max(solution.marginal_error for solution in found)
        return SinkhornSolution(
            value=with_gradient(value.to(x.dtype), x, y, *(gradient.to(x.dtype) for gradient in gradients)),
            converged=worst <= self.tolerance,
            marginal_error=worst,
            iterations=max(solution.iterations for solution in found),
        )
