"""Virtual batch normalisation: the statistics of a fixed reference batch in place of those of each batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genloss.errors import InputError
from genloss.networks.base import check_size

__all__ = ["ReferenceBatch", "VirtualBatchNorm"]


class VirtualBatchNorm(nn.Module):
    r"""Normalises each sample by the statistics of $n$ reference samples and of the sample itself.

    $$\mu_i=\tfrac{n}{n+1}\mu_r+\tfrac1{n+1}\mu(x_i),\qquad
    \sigma_i^2=\tfrac{n}{n+1}\overline{r^2}+\tfrac1{n+1}\overline{x_i^2}-\mu_i^2,\qquad
    y_i=\gamma\,\frac{x_i-\mu_i}{\sqrt{\sigma_i^2+\epsilon}}+\beta$$

    Means are taken for each feature, over the positions of a feature map. The reference samples are normalised by
    their own statistics. The layer reads both from one tensor, the reference first: `ReferenceBatch` puts them there.
    Unlike batch normalisation no sample depends on the others of its batch, and training and evaluation agree; unlike
    layer normalisation the scale of a feature relative to the data is kept. Statistics are in float32 or better.

    Args:
        features: features of a sample, or channels of a feature map, at least 1.
        references: $n$, reference samples, at least 1.
        epsilon: $\epsilon$, added to the variance.

    Raises:
        InputError: a size below 1; in a call, an input of another number of features, or of no more than $n$ samples.

    Example:
        >>> layer = VirtualBatchNorm(1, references=2)
        >>> layer(torch.tensor([[-1.0], [1.0], [0.0]])).detach().round(decimals=3).tolist()
        [[-1.0], [1.0], [0.0]]

    Source: Salimans et al. 2016, section 3.4.
    """

    def __init__(self, features: int, references: int = 64, *, epsilon: float = 1e-5) -> None:
        super().__init__()
        check_size(features=features, references=references)
        self.references = references
        self.epsilon = epsilon
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor) -> Tensor:
        """Returns the normalised `(references + batch, features, ...)`, in the shape and dtype of the input."""
        if x.ndim < 2 or x.shape[1] != len(self.weight) or len(x) <= self.references:
            raise InputError(
                f"virtual batch normalisation was given shape {tuple(x.shape)}, expected ({self.references} references "
                f"+ batch, {len(self.weight)}, ...); put the network into a ReferenceBatch."
            )
        maps = x.flatten(2) if x.ndim > 2 else x[:, :, None]
        maps = maps.to(torch.promote_types(x.dtype, torch.float32))
        reference, own = maps[: self.references], maps[self.references :]
        reference_variance, reference_mean = torch.var_mean(reference, (0, 2), correction=0, keepdim=True)
        own_variance, own_mean = torch.var_mean(own, 2, correction=0, keepdim=True)
        share = 1.0 / (self.references + 1)
        shift = own_mean - reference_mean
        # The variance of the union from those of its parts: a difference of squares would cancel.
        variance = (1.0 - share) * (reference_variance + share * shift.square()) + share * own_variance
        repeated = (self.references, -1, -1)
        mean = torch.cat((reference_mean.expand(repeated), reference_mean + share * shift))
        variance = torch.cat((reference_variance.expand(repeated), variance))
        scale = self.weight[:, None] * (variance + self.epsilon).rsqrt()
        return ((maps - mean) * scale + self.bias[:, None]).reshape(x.shape).to(x.dtype)


class ReferenceBatch(nn.Module):
    r"""Runs a network with `VirtualBatchNorm` on its reference batch and the samples at hand, and returns the latter.

    The reference batch is the first of training: its first samples, repeated where it has fewer than the layers ask
    for. It is a buffer, so it is saved and resumed with the weights. An untrained network in evaluation takes the
    samples at hand as reference and does not keep them. Every pass also computes the reference's activations, for they
    change with the weights; gradients of the weights flow through them.

    Args:
        network: maps `(batch, *shape)` to `(batch, ...)`, each sample by itself but for its layers of virtual batch
            normalisation.
        shape: shape of one sample.

    Raises:
        InputError: the network has no `VirtualBatchNorm`, or some that differ in their number of references; in a
            call, samples of another shape, or none.

    Example:
        >>> network = ReferenceBatch(nn.Sequential(nn.Linear(2, 3), VirtualBatchNorm(3, references=8)), (2,))
        >>> batch = torch.randn(5, 2)
        >>> torch.allclose(network(batch)[:1], network(batch[:1]), atol=1e-5)
        True

    Source: Salimans et al. 2016, section 3.4.
    """

    reference: Tensor
    chosen: Tensor

    def __init__(self, network: nn.Module, shape: tuple[int, ...]) -> None:
        super().__init__()
        asked = {layer.references for layer in network.modules() if isinstance(layer, VirtualBatchNorm)}
        if len(asked) != 1:
            raise InputError(
                f"the network's layers of virtual batch normalisation ask for {sorted(asked)} references, expected one "
                "number; give every VirtualBatchNorm the same `references`."
            )
        self.network = network
        self.register_buffer("reference", torch.zeros(asked.pop(), *shape))
        self.register_buffer("chosen", torch.tensor(False))

    def forward(self, x: Tensor) -> Tensor:
        """Returns the network's output `(batch, ...)` for samples `(batch, *shape)`."""
        if x.shape[1:] != self.reference.shape[1:] or not len(x):
            raise InputError(
                f"a network with a reference batch was given shape {tuple(x.shape)}, expected (batch, "
                f"{', '.join(map(str, self.reference.shape[1:]))}) and at least one sample."
            )
        reference = self._reference(x)
        output: Tensor = self.network(torch.cat((reference, x)))
        return output[len(reference) :]

    def _reference(self, x: Tensor) -> Tensor:
        first = x.detach()[torch.arange(len(self.reference), device=x.device) % len(x)]
        reference = torch.where(self.chosen, self.reference, first)  # to branch on it would wait for the device
        if self.training:
            self.reference.copy_(reference)
            self.chosen.fill_(True)
        return reference
