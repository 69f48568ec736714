"""Vector quantisation: discrete latents from a codebook."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from genloss.losses._checks import at_least_float32, floating, not_empty, remembers, same_kind, whole_numbers
from genloss.losses._fields import at_least, not_negative, positive
from genloss.losses._pairwise import squared_distances
from genloss.losses.card import Card, Loss, Reference
from genloss.losses.variational import VariationalTerms

__all__ = ["Quantised", "VectorQuantised"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Quantised:
    """Latents replaced by their nearest codes.

    Args:
        codes: `(batch, ..., dim)`, the codes in value; their gradient goes to the latents unchanged (straight through).
        nearest: the same codes with their own gradient, to the codebook; NaN where a latent is.
        indices: `(batch, ...)`, which codes they are.
        among: the number of codes in the codebook.
    """

    codes: Tensor
    nearest: Tensor
    indices: Tensor
    among: int


@dataclass(frozen=True, kw_only=True)
class VectorQuantised(Loss):
    r"""The loss of a VAE with discrete latents: reconstruction, codebook and commitment.

    $$-\log p(x|e)+\lVert\mathrm{sg}[z]-e\rVert^2+\beta\lVert z-\mathrm{sg}[e]\rVert^2$$

    $e$ is the code nearest to the encoder's output $z$ and sg stops the gradient. The model calls `quantise`, decodes
    the codes, and hands the log-likelihood to the loss. With `decay` the codebook is a moving average of its members
    instead of a parameter: keep the state of `init_state` and replace it by `next_state` after each update. A code
    without members then stays where it is, as in the paper; smoothed counts, as others have them, would take it to the
    origin. Use it for discrete latents under a strong prior. It fails when codes die: few are ever nearest, which
    `perplexity` shows.

    The bound reported is $\log p(x|e)-n\log K$: $n$ latents, deterministic, under a uniform prior over $K$ codes.

    Args:
        commitment: $\beta$, not negative.
        decay: of the codebook's moving averages, in (0, 1); None trains the codebook by its gradient.

    Raises:
        ValueError: a field is out of its range.

    Example:
        >>> codebook = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
        >>> loss, latents = VectorQuantised(), torch.tensor([[0.9, 1.0], [0.1, 0.0]])
        >>> loss.quantise(latents, codebook).indices
        tensor([1, 0])

    Source: van den Oord, Vinyals & Kavukcuoglu 2017, equation 3 and appendix A.1.
    """

    family: ClassVar[str] = "quantisation"
    card: ClassVar[Card] = Card(
        name="vector_quantised",
        aliases=("vq_vae",),
        formula={"autoencoder": r"-\log p(x|e)+\lVert\mathrm{sg}[z]-e\rVert^2+\beta\lVert z-\mathrm{sg}[e]\rVert^2"},
        minimised_by="Encoder, decoder and codebook minimise it together; with decay the codebook is a moving average.",
        when="For discrete latents, with a strong prior fitted to them afterwards.",
        fails="Codes die: few are ever nearest. Watch the perplexity of the codes.",
        references=(
            Reference(
                authors="van den Oord, Vinyals, Kavukcuoglu",
                year=2017,
                title="Neural Discrete Representation Learning",
                venue="NeurIPS",
                url="https://arxiv.org/abs/1711.00937",
                equation="(3), appendix A.1",
            ),
        ),
        paper={"train.optimizer": "adam", "train.learning_rate": 2e-4, "train.batch_size": 128},
    )

    commitment: float = 0.25
    decay: float | None = None

    def __post_init__(self) -> None:
        not_negative(commitment=self.commitment)
        if self.decay is None:
            return
        positive(decay=self.decay)
        if self.decay >= 1.0:
            raise ValueError(f"decay is {self.decay}, expected a number in (0, 1), e.g. 0.99, or None.")

    def quantise(self, latents: Tensor, codebook: Tensor) -> Quantised:
        """Replaces every latent by its nearest code.

        Args:
            latents: `(batch, ..., dim)`, floating.
            codebook: `(codes, dim)`, floating.

        Raises:
            TypeError: a tensor is not floating, or dtypes or devices differ.
            ValueError: a tensor is empty or the last axes differ.
        """
        floating(latents=latents, codebook=codebook)
        not_empty(latents=latents, codebook=codebook)
        same_kind(latents=latents, codebook=codebook)
        if codebook.ndim != 2 or latents.ndim < 2 or latents.shape[-1] != codebook.shape[1]:
            raise ValueError(
                f"latents have shape {tuple(latents.shape)} and codebook {tuple(codebook.shape)}, expected "
                f"(batch, ..., dim) and (codes, dim)."
            )
        with torch.no_grad(), torch.autocast(latents.device.type, enabled=False):
            flat, codes = at_least_float32(latents).flatten(0, -2), at_least_float32(codebook)
            centre = codes.mean(0).nan_to_num()  # a code that is not finite is then the nearest, and shows in the loss
            indices = squared_distances(flat - centre, codes - centre).argmin(1).reshape(latents.shape[:-1])
        # A latent that is no number has no nearest code, and must not come to look like one.
        nearest = torch.where(latents.isnan().any(-1, keepdim=True), torch.nan, codebook[indices])
        # In float32, where the difference does not round the codes.
        z = at_least_float32(latents)
        codes = (z + (nearest - z).detach()).to(latents.dtype)
        return Quantised(codes=codes, nearest=nearest, indices=indices, among=len(codebook))

    def __call__(
        self, latents: Tensor, quantised: Quantised, log_likelihood: Tensor, *, codes: int
    ) -> VariationalTerms:
        """Returns the terms of the loss.

        Args:
            latents: the encoder's output `(batch, ..., dim)`.
            quantised: what `quantise` made of them.
            log_likelihood: of the data given the codes, `(batch,)` in nats.
            codes: the number of codes in the codebook, over which the prior of the bound is uniform.

        Raises:
            TypeError: a tensor is not floating, or dtypes or devices differ (half precision counts as float32).
            ValueError: a tensor is empty, shapes do not fit, or `codes` is not the size of the codebook.
        """
        floating(latents=latents, log_likelihood=log_likelihood)
        not_empty(latents=latents)
        at_least(1, codes=codes)
        if codes != quantised.among:
            raise ValueError(
                f"codes is {codes} and the latents were quantised with {quantised.among} codes; expected the same "
                "number: pass codes=len(codebook)."
            )
        if quantised.nearest.shape != latents.shape or log_likelihood.shape != latents.shape[:1]:
            raise ValueError(
                f"latents {tuple(latents.shape)}, codes {tuple(quantised.nearest.shape)} and log_likelihood "
                f"{tuple(log_likelihood.shape)} do not fit; expected equal shapes of latents and codes, and (batch,)."
            )
        z, e = at_least_float32(latents), at_least_float32(quantised.nearest)
        log_likelihood = at_least_float32(log_likelihood)
        same_kind(latents=z, nearest=e, log_likelihood=log_likelihood)
        commitment = (z - e.detach()).square().flatten(1).sum(1)
        to_codes = (z.detach() - e).square().flatten(1).sum(1)
        surrogate = self.commitment * commitment - log_likelihood
        positions = quantised.indices[0].numel()
        return VariationalTerms(
            surrogate=surrogate if self.decay is not None else surrogate + to_codes,
            bound=log_likelihood - positions * math.log(codes),
            parts={"reconstruction": log_likelihood, "commitment": commitment, "codebook": to_codes},
        )

    def init_state(self, codebook: Tensor) -> dict[str, Tensor]:
        """Returns the memory of the moving averages, empty without `decay`; `codebook` in it is the one to use."""
        if self.decay is None:
            return {}
        book = codebook.detach()
        return {"codebook": book.clone(), "count": torch.ones_like(book[:, 0]), "total": book.clone()}

    def next_state(self, state: Mapping[str, Tensor], latents: Tensor, indices: Tensor) -> dict[str, Tensor]:
        """Returns the memory after one batch: each code's count and sum of members, and their mean as the codebook.

        Raises:
            TypeError: the latents are not floating, or the indices not int64.
            ValueError: the state is not one of `init_state`, shapes do not fit, or (checked on the CPU only) an index
                is none of the codes.
        """
        if self.decay is None:
            return {}
        remembers(state, "codebook", "count", "total")
        floating(latents=latents)
        codes, dim = state["total"].shape
        _check_indices(indices, codes)
        if latents.shape != (*indices.shape, dim):
            raise ValueError(
                f"latents have shape {tuple(latents.shape)} and indices {tuple(indices.shape)}, expected (batch, ..., "
                f"{dim}) and (batch, ...); pass the indices that quantise gave for these latents."
            )
        flat = latents.detach().flatten(0, -2).to(state["total"])
        which = indices.flatten()
        counts = torch.zeros_like(state["count"]).index_add_(0, which, torch.ones_like(flat[:, 0]))
        sums = torch.zeros_like(state["total"]).index_add_(0, which, flat)
        count = torch.lerp(counts, state["count"], self.decay)
        total = torch.lerp(sums, state["total"], self.decay)
        # Without new members sum and count shrink alike: their ratio stays, until both round to 0.
        codebook = torch.where((counts > 0).unsqueeze(-1), total / count.unsqueeze(-1), state["codebook"])
        return {"codebook": codebook, "count": count, "total": total}

    @staticmethod
    def perplexity(indices: Tensor, codes: int) -> Tensor:
        """Returns how many codes are in use: the exponential of the entropy of `indices`, between 1 and `codes`.

        Raises:
            TypeError: the indices are not int64.
            ValueError: there is none, or (checked on the CPU only) one is none of the codes.
        """
        at_least(1, codes=codes)
        _check_indices(indices, codes)
        not_empty(indices=indices)
        share = torch.bincount(indices.flatten(), minlength=codes).double() / indices.numel()
        used: Tensor = torch.special.entr(share).sum().exp()
        return used


def _check_indices(indices: Tensor, codes: int) -> None:
    """Raises unless the indices are int64 and, looked at on the CPU, name codes of the codebook."""
    whole_numbers(indices=indices)
    if not indices.is_cpu or indices.numel() == 0:
        return
    low, high = (int(end) for end in indices.aminmax())
    if low < 0 or high >= codes:
        raise ValueError(
            f"indices lie in [{low}, {high}], expected 0 to {codes - 1} for {codes} codes; are they another codebook's?"
        )
