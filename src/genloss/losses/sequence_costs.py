"""Costs of a whole sequence against its reference: not differentiable, for the risk losses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from genloss.losses._checks import boolean, same_shape, whole_numbers
from genloss.losses._fields import true_or_false
from genloss.losses.card import Card, Loss, Reference

__all__ = ["BLEU", "ChrF", "Cost", "EditDistance", "distinct_samples", "token_costs"]

_MISSING = "{} needs the package {}, which is not installed; run: pip install 'genloss[text]'"


class Cost(Loss, ABC):
    """What a produced sequence costs against its reference, low for good ones. A subclass writes `_counter`."""

    family: ClassVar[str] = "cost"

    def __call__(self, produced: Sequence[Sequence[Hashable]], references: Sequence[Sequence[Hashable]]) -> Tensor:
        """Returns the cost of each produced sequence against the reference at the same place.

        Args:
            produced: sequences of tokens, numbers or words, without the end token.
            references: as many sequences.

        Returns:
            `(n,)`, float32, not negative.

        Raises:
            TypeError: tokens are tensors, which compare by identity, or a sequence is a text and not its tokens.
            ValueError: there is no sequence, or the numbers of sequences differ.
            ImportError: the package that counts is missing; the message names the pip command.
        """
        if len(produced) != len(references):
            raise ValueError(f"there are {len(produced)} sequences and {len(references)} references, expected as many.")
        if not len(produced):
            raise ValueError("there is no sequence to compare, expected at least one.")
        for sequences in (produced, references):
            if any(isinstance(part, Tensor) for part in (sequences, *sequences, *sequences[0])):
                raise TypeError(
                    "the sequences are tensors, expected lists of numbers or words; pass .tolist(), or use token_costs."
                )
            if texts := [part for part in sequences if isinstance(part, str)]:
                raise TypeError(
                    f"a sequence is the text {texts[0][:40]!r}, expected its tokens; pass text.split() to compare "
                    f"words, or list(text) to compare characters."
                )
        count = self._counter()
        return torch.tensor([count(a, b) for a, b in zip(produced, references, strict=True)], dtype=torch.float32)

    @abstractmethod
    def _counter(self) -> Callable[[Sequence[Hashable], Sequence[Hashable]], float]:
        """Returns the function that compares one sequence with its reference."""


@dataclass(frozen=True, kw_only=True)
class EditDistance(Cost):
    """The number of insertions, deletions and substitutions of tokens (Levenshtein).

    Args:
        normalised: divide by the length of the reference (at least 1): the token error rate.

    Example:
        >>> EditDistance()([[1, 2, 3]], [[1, 3]])
        tensor([1.])

    Source: Levenshtein 1966.
    """

    card: ClassVar[Card] = Card(
        name="edit_distance",
        aliases=("levenshtein",),
        formula={"cost": r"\min\#\{\text{insertions, deletions, substitutions}\}"},
        minimised_by="Nobody by itself: it has no gradient. A risk loss lowers its expectation.",
        when="Where every token matters and a reference is the only right answer.",
        fails="Gives no credit for a right phrase at another place.",
        references=(
            Reference(
                authors="Levenshtein",
                year=1966,
                title="Binary codes capable of correcting deletions, insertions, and reversals",
                venue="Soviet Physics Doklady",
            ),
        ),
    )

    normalised: bool = False

    def __post_init__(self) -> None:
        true_or_false(normalised=self.normalised)

    def _counter(self) -> Callable[[Sequence[Hashable], Sequence[Hashable]], float]:
        try:
            from rapidfuzz.distance import Levenshtein
        except ImportError as error:
            raise ImportError(_MISSING.format("edit_distance", "rapidfuzz")) from error

        def count(produced: Sequence[Hashable], reference: Sequence[Hashable]) -> float:
            if not _hashes_apart((*produced, *reference)):
                numbers = _numbers(produced, reference)
                produced, reference = ([numbers[token] for token in tokens] for tokens in (produced, reference))
            distance = float(Levenshtein.distance(produced, reference))
            return distance / max(len(reference), 1) if self.normalised else distance

        return count


@dataclass(frozen=True, kw_only=True)
class BLEU(Cost):
    """One less the sentence's BLEU, in [0, 1].

    Tokens are compared as they are (no tokeniser), with exponential smoothing, and only n-gram orders that the sentence
    is long enough for: without that, a perfect sentence of two words would score 0. An empty sentence costs 0 against
    an empty one, and 1 against any other.

    Example:
        >>> cost = BLEU()([[1, 2, 3]], [[1, 2, 3]])
        >>> bool(cost.abs() < 1e-6)
        True

    Source: Papineni et al. 2002; Post 2018.
    """

    card: ClassVar[Card] = Card(
        name="bleu",
        formula={"cost": r"1-\mathrm{BLEU}"},
        minimised_by="Nobody by itself: it has no gradient. A risk loss lowers its expectation.",
        when="To train for what translation is measured by.",
        fails="Of single sentences it is rough: most have no matching 4-gram.",
        references=(
            Reference(
                authors="Papineni, Roukos, Ward, Zhu",
                year=2002,
                title="BLEU: a Method for Automatic Evaluation of Machine Translation",
                venue="ACL",
                url="https://aclanthology.org/P02-1040",
            ),
            Reference(
                authors="Post",
                year=2018,
                title="A Call for Clarity in Reporting BLEU Scores",
                venue="WMT",
                url="https://arxiv.org/abs/1804.08771",
            ),
        ),
    )

    def _counter(self) -> Callable[[Sequence[Hashable], Sequence[Hashable]], float]:
        metric = _sacrebleu("bleu").BLEU(effective_order=True, tokenize="none", smooth_method="exp")

        def count(produced: Sequence[Hashable], reference: Sequence[Hashable]) -> float:
            if not produced and not reference:
                return 0.0
            numbers = _numbers(produced, reference)  # for tokens may hold spaces or print alike
            texts = [" ".join(str(numbers[token]) for token in tokens) for tokens in (produced, reference)]
            score = metric.sentence_score(texts[0], texts[1:])
            return min(1.0, max(0.0, 1.0 - float(score.score) / 100.0))

        return count


@dataclass(frozen=True, kw_only=True)
class ChrF(Cost):
    """One less the sentence's character F-score (chrF2), in [0, 1]. Takes words, joined by spaces, and no numbers.

    Example:
        >>> cost = ChrF()([["a", "cat"]], [["a", "cat"]])
        >>> bool(cost.abs() < 1e-6)
        True

    Source: Popovic 2015.
    """

    card: ClassVar[Card] = Card(
        name="chrf",
        formula={"cost": r"1-\mathrm{chrF}_2"},
        minimised_by="Nobody by itself: it has no gradient. A risk loss lowers its expectation.",
        when="For languages with rich endings, and for short sentences: it is smoother than BLEU.",
        fails="Needs the text of the tokens.",
        references=(
            Reference(
                authors="Popovic",
                year=2015,
                title="chrF: character n-gram F-score for automatic MT evaluation",
                venue="WMT",
                url="https://aclanthology.org/W15-3049",
            ),
        ),
    )

    def _counter(self) -> Callable[[Sequence[Hashable], Sequence[Hashable]], float]:
        metric = _sacrebleu("chrf").CHRF()

        def text(tokens: Sequence[Hashable]) -> str:
            if not all(isinstance(token, str) for token in tokens):
                raise TypeError(f"chrF compares characters, received tokens {list(tokens)[:3]}, expected words.")
            return " ".join(map(str, tokens))

        def count(produced: Sequence[Hashable], reference: Sequence[Hashable]) -> float:
            if not produced and not reference:
                return 0.0
            score = metric.sentence_score(text(produced), [text(reference)])
            return min(1.0, max(0.0, 1.0 - float(score.score) / 100.0))

        return count


def _hashes_apart(tokens: tuple[Hashable, ...]) -> bool:
    """Says whether different tokens surely have different hashes, as -1 and -2, or "a" and 97 to rapidfuzz, do not."""
    kinds = set(map(type, tokens))
    return kinds == {str} or (kinds == {int} and min(tokens) >= 0)  # type: ignore[type-var, operator]


def _numbers(produced: Sequence[Hashable], reference: Sequence[Hashable]) -> dict[Hashable, int]:
    return {token: number for number, token in enumerate(dict.fromkeys((*produced, *reference)))}


def _sacrebleu(name: str) -> Any:
    try:
        import sacrebleu.metrics
    except ImportError as error:
        raise ImportError(_MISSING.format(name, "sacrebleu")) from error
    return sacrebleu.metrics


def token_costs(
    cost: Cost,
    samples: Tensor,
    targets: Tensor,
    end: int,
    *,
    words: Callable[[list[int]], Sequence[Hashable]] | None = None,
) -> Tensor:
    """Returns the cost of sampled token sequences against their target.

    Args:
        cost: compares two sequences.
        samples: `(batch, samples, length)`, int64; what follows the first `end` is ignored.
        targets: `(batch, length)`, int64, likewise.
        end: the token that ends a sequence; it is not compared.
        words: makes words of tokens, for a cost that needs text.

    Returns:
        `(batch, samples)`, float32, on the device of `samples`.

    Raises:
        TypeError: tokens are not integers.
        ValueError: shapes do not fit, there is no sample, or a function of one's own does not return one cost for each.

    Example:
        >>> samples = torch.tensor([[[5, 6, 0, 9], [5, 0, 0, 0]]])
        >>> token_costs(EditDistance(), samples, torch.tensor([[5, 6, 0]]), end=0)
        tensor([[0., 1.]])
    """
    whole_numbers(samples=samples, targets=targets)
    if samples.ndim != 3 or targets.ndim != 2 or len(samples) != len(targets):
        raise ValueError(
            f"samples have shape {tuple(samples.shape)} and targets {tuple(targets.shape)}, expected "
            f"(batch, samples, length) and (batch, length)."
        )
    make = words or (lambda tokens: tokens)
    cut = [make(_until(row, end)) for row in samples.flatten(0, 1).tolist()]
    references = [make(_until(row, end)) for row in targets.tolist()]
    repeated = [reference for reference in references for _ in range(samples.shape[1])]
    costs = torch.as_tensor(cost(cut, repeated), dtype=torch.float32)
    if costs.shape != (len(cut),):
        raise ValueError(
            f"the cost returned shape {tuple(costs.shape)} for {len(cut)} sequences, expected ({len(cut)},): one a "
            f"sequence."
        )
    return costs.reshape(samples.shape[:2]).to(samples.device)


def _until(tokens: list[int], end: int) -> list[int]:
    return tokens[: tokens.index(end)] if end in tokens else tokens


def distinct_samples(samples: Tensor, mask: Tensor) -> Tensor:
    """Returns which samples are the first of their kind, for losses over distinct sequences.

    Args:
        samples: `(batch, samples, length)`, int64.
        mask: the same shape, bool, true where a token counts; the rest is not compared.

    Returns:
        `(batch, samples)`, bool.

    Raises:
        TypeError: the tokens are not int64, or the mask is not bool.
        ValueError: shapes do not fit.

    Example:
        >>> samples = torch.tensor([[[1, 0], [2, 0], [1, 9]]])
        >>> distinct_samples(samples, torch.tensor([[[True, False], [True, False], [True, False]]]))
        tensor([[ True,  True, False]])
    """
    whole_numbers(samples=samples)
    boolean(mask=mask)
    same_shape(samples=samples, mask=mask)
    if samples.ndim != 3:
        raise ValueError(f"samples have shape {tuple(samples.shape)}, expected (batch, samples, length).")
    marked = samples.masked_fill(~mask, -1)
    equal = (marked.unsqueeze(1) == marked.unsqueeze(2)).all(-1)
    return ~equal.tril(-1).any(-1)
