"""Figure 13.10: one Gaussian fitted to two modes. Forward KL covers both, reverse KL seeks one.

The forward fit has the mean and covariance of the mixture. The reverse fit takes one component, at a cost of log 2:
it depends on the start which.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from _page import MODEL, REAL, panels, show
from matplotlib.figure import Figure
from torch import Tensor
from torch.distributions import MultivariateNormal

from genloss.data import GaussianMixture
from genloss.losses import forward_kl, reverse_kl

MIXTURE = GaussianMixture(means=((-2.0, -1.0), (2.0, 1.0)), scales=0.7)
AXIS = torch.linspace(-12.0, 12.0, 321, dtype=torch.float64)
POINTS = torch.cartesian_prod(AXIS, AXIS)
RINGS = torch.tensor([-2.0, -0.5]).exp()  # of one and of two standard deviations
REAL_SHARES = MIXTURE.log_prob(POINTS).softmax(0)


def model(parameters: Tensor) -> MultivariateNormal:
    """Returns the Gaussian of five numbers: two of the mean, two log-scales, one below the diagonal."""
    root = torch.diag_embed(parameters[2:4].exp()) + parameters[4] * torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    return MultivariateNormal(parameters[:2], scale_tril=root)


def fit(divergence: Callable[[Tensor, Tensor], Tensor], start: tuple[float, float]) -> tuple[MultivariateNormal, float]:
    """Returns the Gaussian of least divergence that descent finds from this mean, and the divergence."""
    parameters = torch.tensor((*start, 0.0, 0.0, 0.0), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([parameters], max_iter=200, line_search_fn="strong_wolfe", tolerance_grad=1e-9)

    def closure() -> Tensor:
        optimiser.zero_grad()
        value = divergence(REAL_SHARES, model(parameters).log_prob(POINTS).softmax(0))
        value.backward()
        return value

    optimiser.step(closure)
    return model(parameters.detach()), closure().item()


def make() -> tuple[dict[str, float], Figure]:
    """Returns the numbers and the figure."""
    fits = {
        "Forward KL covers": fit(forward_kl, (-1.0, 1.0)),
        "Reverse KL, from the left": fit(reverse_kl, (-1.5, 0.0)),
        "Reverse KL, from the right": fit(reverse_kl, (1.5, 0.0)),
    }
    figure, axes = panels(3)
    side = len(AXIS)
    for axis, (name, (found, value)) in zip(axes, fits.items(), strict=True):
        height = MIXTURE.log_prob(POINTS).exp().reshape(side, side).mT
        axis.contourf(AXIS, AXIS, height, levels=[0.01, 0.03, 0.06, 0.1, 0.14, 0.2], cmap="Blues", alpha=0.8)
        height = found.log_prob(POINTS).exp().reshape(side, side).mT
        axis.contour(AXIS, AXIS, height, levels=(height.max() * RINGS).tolist(), colors=MODEL)
        axis.plot(*found.mean.tolist(), "+", color=MODEL, ms=10, mew=2)
        axis.set(title=f"{name}: {value:.3f} nats", xlim=(-5, 5), ylim=(-4.5, 4.5), aspect="equal", xlabel="$x_1$")
    axes[0].set_ylabel("$x_2$")
    axes[0].plot([], [], color=REAL, lw=6, alpha=0.5, label="data")
    axes[0].plot([], [], color=MODEL, label="model")
    axes[0].legend(loc="upper left")
    numbers = {name: value for name, (_, value) in fits.items()}
    for name, (found, _) in fits.items():
        numbers |= {f"{name}: mean {i + 1}": found.mean[i].item() for i in range(2)}
        numbers |= {f"{name}: variance {i + 1}": found.covariance_matrix[i, i].item() for i in range(2)}
        numbers[f"{name}: covariance"] = found.covariance_matrix[0, 1].item()
    return numbers, figure


if __name__ == "__main__":
    show(__file__, make)
