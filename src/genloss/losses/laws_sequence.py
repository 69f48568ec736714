"""The laws of the losses on sequences: tokens, risks and attention."""

from __future__ import annotations

import torch
from torch import Tensor

from genloss.losses._law_tools import (
    Setting,
    derivatives_agree,
    descend,
    each_alone,
    finite,
    number,
    probe,
    same,
    seeded,
)
from genloss.losses.attention_penalties import AttentionPenalty
from genloss.losses.laws import LawBroken, LawSkipped, law
from genloss.losses.sequence import TokenLoss
from genloss.losses.sequence_risk import RiskLoss

__all__: list[str] = []

_BATCH, _VOCABULARY, _SAMPLES = 3, 6, 4
_EXTREME = 3000.0  # a logit
_LEAN = 0.1  # a logit, so small that smoothed targets still ask for more
_LONGEST = 32  # tokens


def _shortest(loss: TokenLoss) -> int:
    """Returns how many tokens a sentence needs for the loss to have a gradient: a loss on n-grams has none below n."""
    for length in range(1, _LONGEST):
        logits = torch.zeros(1, length, 2, dtype=torch.float64, requires_grad=True)
        value = loss(logits, torch.zeros(1, length, dtype=torch.long), torch.ones(1, length, dtype=torch.bool))
        if value.requires_grad and bool(torch.autograd.grad(value.sum(), logits)[0].any()):
            return length
    return 1


def _sentences(loss: TokenLoss) -> tuple[Tensor, Tensor, Tensor]:
    """Returns logits, targets and a mask of sentences of which the shortest is as short as the loss bears."""
    lengths = _shortest(loss) + torch.tensor([4, 2, 0])
    longest = int(lengths.max())
    logits = torch.randn(_BATCH, longest, _VOCABULARY, generator=seeded(), dtype=torch.float64)
    targets = torch.randint(_VOCABULARY, (_BATCH, longest), generator=seeded(1))
    return logits, targets, torch.arange(longest) < lengths[:, None]


@probe("token")
def _token_probe(loss: TokenLoss, setting: Setting) -> dict[str, Tensor]:
    """Returns the loss and its gradient in the logits."""
    logits, targets, mask = _sentences(loss)
    logits = setting.tensor(logits).requires_grad_()
    value = loss(logits, targets.to(setting.device), mask.to(setting.device))
    return {"the loss": value.detach(), "gradient": torch.autograd.grad(value.sum(), logits)[0]}


@law("token")
def padding_counts_nothing(loss: TokenLoss) -> str:
    """What the mask leaves out changes nothing, and sentences do not see each other."""
    logits, targets, mask = _sentences(loss)
    whole = loss(logits, targets, mask)
    if whole.shape != (_BATCH,):
        raise LawBroken(f"shape {tuple(whole.shape)} for a batch of {_BATCH}, expected ({_BATCH},).")
    junk = torch.where(mask.unsqueeze(-1), logits, 50.0 * logits.flip(-1))
    same("with other padding the loss is", loss(junk, torch.where(mask, targets, 0), mask), whole)
    each_alone(whole, (mask,), lambda cut: loss(logits[cut], targets[cut], mask[cut]))
    return "padding and other sentences count nothing"


@law("token")
def rewards_the_right_tokens(loss: TokenLoss) -> str:
    """Right costs less than unsure, and unsure less than wrong."""
    _, targets, mask = _sentences(loss)
    # Wrong everywhere: a token that no target holds.
    right = _LEAN * torch.eye(_VOCABULARY + 1, dtype=torch.float64)[targets]
    wrong = _LEAN * torch.eye(_VOCABULARY + 1, dtype=torch.float64)[torch.full_like(targets, _VOCABULARY)]
    values = [loss(logits, targets, mask) for logits in (right, torch.zeros_like(right), wrong)]
    if not bool((values[0] < values[1]).all() and (values[1] < values[2]).all()):
        raise LawBroken(f"right, unsure and wrong cost {', '.join(map(number, values))}, expected them to rise.")
    return "right, unsure and wrong cost more and more"


@law("token")
def pulls_where_it_is_wrong(loss: TokenLoss) -> str:
    """Where it is sure and wrong its gradient has not vanished."""
    _, targets, mask = _sentences(loss)
    for size in (20.0, _EXTREME):
        wrong = size * torch.eye(_VOCABULARY + 1)[torch.full_like(targets, _VOCABULARY)]
        (gradient,) = torch.autograd.grad(loss(wrong.requires_grad_(), targets, mask).sum(), wrong)
        pull = gradient[mask].abs().amax(-1)
        if not bool((pull > 1e-2).all()):
            raise LawBroken(
                f"at a logit of {size:.0f} on a wrong token the largest slopes are {number(pull)}, expected more than "
                f"0.01 at every token; probabilities are softened twice, or a small number is added to them: the loss "
                f"takes logits, use log_softmax."
            )
    return f"slopes of {number(pull)}"


@law("token")
def is_bounded_below(loss: TokenLoss) -> str:
    """Logits that grow and grow, on right tokens or wrong ones, do not lower it without end."""
    logits, targets, mask = _sentences(loss)
    tokens = torch.eye(_VOCABULARY, dtype=torch.float64)
    directions = {"the right tokens": tokens[targets], "all but the right tokens": -tokens[targets], "any": logits}
    for where, direction in directions.items():
        near, far = loss(10.0 * direction, targets, mask), loss(_EXTREME * direction, targets, mask)
        if bool((far < near - 1.0).any()):
            raise LawBroken(
                f"as logits of {where} grow from 10 to {_EXTREME:.0f} the loss goes from {number(near)} to "
                f"{number(far)}, expected no fall without end: a term has the wrong sign."
            )
    return "nothing to gain at infinity"


@law("token")
def teaches_the_right_tokens(loss: TokenLoss) -> str:
    """Descending it from nearly equal logits makes every right token surer, and moves nothing under the mask."""
    _, targets, mask = _sentences(loss)
    # From quite equal ones a loss that takes words at any place would not know which goes where.
    start = _LEAN * torch.eye(_VOCABULARY, dtype=torch.float64)[targets]
    logits = start.clone().requires_grad_()
    first, last = descend(lambda: loss(logits, targets, mask).sum(), [logits], rate=0.3, steps=60)
    learned = logits.detach()
    same("the likeliest tokens are", learned.argmax(-1)[mask], targets[mask])
    gained = (learned.log_softmax(-1) - start.log_softmax(-1)).gather(-1, targets.unsqueeze(-1)).squeeze(-1)[mask]
    if not bool((gained > 0.0).all()):
        raise LawBroken(f"log-probabilities of right tokens changed by {number(gained)}, expected all to rise.")
    same("under the mask the logits are", learned[~mask], start[~mask])
    return f"from {first:.4g} to {last:.4g}"


@law("token")
def token_derivative_is_right(loss: TokenLoss) -> str:
    """The derivative is that of the value."""
    logits, targets, mask = _sentences(loss)
    return derivatives_agree("the loss", lambda a: loss(a, targets, mask), (logits,), second=True)


@law("token")
def tokens_survive_extremes(loss: TokenLoss) -> str:
    """At logits of some thousands, value and gradient are finite in float32."""
    logits, targets, mask = _sentences(loss)
    logits = (_EXTREME * logits).float().requires_grad_()
    value = loss(logits, targets, mask)
    finite("the loss at logits of some thousands is", value)
    finite("the gradient there is", torch.autograd.grad(value.sum(), logits)[0])
    return f"values {number(value)}"


def _risk(loss: RiskLoss, log_probs: Tensor, costs: Tensor, distinct: Tensor | None = None) -> Tensor:
    greedy = costs.mean(1) if getattr(loss, "baseline", None) == "greedy" else None
    return loss(log_probs, costs, distinct=distinct, greedy_costs=greedy)


def _samples() -> tuple[Tensor, Tensor]:
    """Returns log-probabilities, and costs that rise from sample to sample: on each target from elsewhere and faster.

    With equal costs on all targets a baseline of the batch would be one of the target.
    """
    log_probs = -20.0 - 3.0 * torch.rand(_BATCH, _SAMPLES, generator=seeded(), dtype=torch.float64)
    target, sample = torch.arange(_BATCH, dtype=torch.float64), torch.arange(_SAMPLES, dtype=torch.float64)
    return log_probs, 5.0 * target[:, None] + torch.outer(1.0 + target, sample)


@probe("risk")
def _risk_probe(loss: RiskLoss, setting: Setting) -> dict[str, Tensor]:
    """Returns the loss and its gradient in the log-probabilities."""
    log_probs, costs = (setting.tensor(values) for values in _samples())
    value = _risk(loss, log_probs.requires_grad_(), costs)
    return {"the loss": value.detach(), "gradient": torch.autograd.grad(value.sum(), log_probs)[0]}


@law("risk")
def prefers_cheap_sequences(loss: RiskLoss) -> str:
    """Minimising makes the cheapest sequence more likely and the dearest one less."""
    log_probs, costs = _samples()
    (gradient,) = torch.autograd.grad(_risk(loss, log_probs.requires_grad_(), costs).sum(), log_probs)
    if not bool((gradient[:, 0] < 0.0).all() and (gradient[:, -1] > 0.0).all()):
        raise LawBroken(
            f"the gradient is {number(gradient[:, 0])} on the cheapest sequence and {number(gradient[:, -1])} on the "
            f"dearest, expected less than 0 and more than 0."
        )
    return f"gradient {number(gradient[0, 0])} on the cheapest, {number(gradient[0, -1])} on the dearest"


@law("risk")
def settles_on_the_cheapest(loss: RiskLoss) -> str:
    """Descending it on samples of the model makes the cheapest sequence nearly certain."""
    logits, rng = torch.zeros(_SAMPLES, dtype=torch.float64, requires_grad=True), seeded()

    def compute() -> Tensor:
        drawn = torch.multinomial(logits.detach().softmax(0), 32 * _SAMPLES, replacement=True, generator=rng)
        samples = drawn.reshape(32, _SAMPLES)
        return _risk(loss, logits.log_softmax(0)[samples], samples.double()).mean()

    descend(compute, [logits], rate=0.2, steps=100)
    # A loss that sharpens them is content once the sharpened probabilities settle.
    sharpened = max(1.0, getattr(loss, "alpha", 1.0)) * logits.detach()
    probability = sharpened.softmax(0)[0]
    if not probability > 0.9:
        raise LawBroken(
            f"of {_SAMPLES} sequences that cost 0 to {_SAMPLES - 1}, the one that costs nothing has the probability "
            f"{number(probability)} after 100 steps, expected more than 0.9."
        )
    return f"probability {number(probability)}"


@law("risk")
def sees_improbable_sequences(loss: RiskLoss) -> str:
    """A common factor of all probabilities changes no gradient: long sequences carry as much signal as short ones."""
    gradients = []
    for shift in (0.0, 19.0, -1000.0):
        log_probs, costs = _samples()
        shifted = (log_probs + shift).requires_grad_()
        gradients.append(torch.autograd.grad(_risk(loss, shifted, costs).sum(), shifted)[0])
    for other in gradients[1:]:
        same("with other lengths the gradient is", other, gradients[0], relative=1e-6)
    return "the gradient depends on ratios of probabilities alone"


@law("risk")
def bears_equal_costs(loss: RiskLoss) -> str:
    """Equal costs, also of 0, give a finite loss and no gradient between sequences."""
    for cost in (0.0, 2.0):
        log_probs, costs = _samples()
        value = _risk(loss, log_probs.requires_grad_(), torch.full_like(costs, cost))
        finite(f"the loss at equal costs of {cost} is", value)
        (gradient,) = torch.autograd.grad(value.sum(), log_probs)
        same(f"at equal costs of {cost} the gradient is", gradient, torch.zeros_like(gradient))
    return "no gradient at equal costs"


@law("risk")
def leaves_out_what_is_not_distinct(loss: RiskLoss) -> str:
    """A sequence that distinct leaves out counts nothing, or distinct is refused."""
    log_probs, costs = _samples()
    # The two in the middle, so that the mean cost stays.
    distinct = torch.tensor([True, False, False, True]).expand(_BATCH, -1)
    try:
        found = _risk(loss, log_probs, costs, distinct)
    except ValueError as error:
        raise LawSkipped(f"it refuses distinct: {error}") from None
    kept = (values[distinct].reshape(_BATCH, -1) for values in (log_probs, costs))
    return f"largest difference {same('with two of four left out the loss is', found, _risk(loss, *kept)):.1e}"


@law("risk")
def measures_against_the_greedy_sequence(loss: RiskLoss) -> str:
    """A dearer greedy sequence makes the samples of its own target more welcome, and takes no gradient itself."""
    log_probs, costs = _samples()
    greedy = costs.mean(1).requires_grad_()
    dearer = greedy + torch.tensor([1.0, *[0.0] * (_BATCH - 1)])
    gradients = []
    for baseline in (greedy, dearer):
        leaf = log_probs.clone().requires_grad_()
        try:
            value = loss(leaf, costs, greedy_costs=baseline)
        except ValueError as error:
            raise LawSkipped(f"it refuses greedy_costs: {error}") from None
        on_samples, on_greedy = torch.autograd.grad(value.sum(), (leaf, greedy), allow_unused=True)
        if on_greedy is not None and bool(on_greedy.any()):
            raise LawBroken(f"the gradient in greedy_costs is {number(on_greedy)}, expected none: they are given.")
        gradients.append(on_samples)
    change = gradients[1] - gradients[0]
    if not bool(change.any()):
        raise LawSkipped("greedy_costs change no gradient: it has no such baseline.")
    if not bool((change[0] < 0.0).all()):
        raise LawBroken(
            f"with the greedy sequence of the first target dearer by 1 its gradient changes by {number(change[0])}, "
            f"expected less than 0 on every sample: the costs count against the greedy sequence's."
        )
    same("on the other targets that changes the gradient by", change[1:], torch.zeros_like(change[1:]))
    return f"{number(change[0])} for a greedy sequence that is dearer by 1"


@law("risk")
def risk_derivative_is_right(loss: RiskLoss) -> str:
    """The derivative is that of the value, and targets do not see each other."""
    log_probs, costs = _samples()
    same("alone the first target has", _risk(loss, log_probs[:1], costs[:1]), _risk(loss, log_probs, costs)[:1])
    return derivatives_agree("the loss", lambda a: _risk(loss, a, costs), (log_probs,), second=True)


def _attention() -> tuple[Tensor, Tensor, Tensor]:
    source, target = torch.arange(6) < torch.tensor([[6], [4]]), torch.arange(5) < torch.tensor([[5], [3]])
    scores = torch.randn(2, 5, 6, generator=seeded(), dtype=torch.float64)
    return scores.masked_fill(~source.unsqueeze(1), -torch.inf).softmax(-1), source, target


@probe("attention")
def _attention_probe(loss: AttentionPenalty, setting: Setting) -> dict[str, Tensor]:
    """Returns the penalty and its gradient in the weights."""
    attention, source, target = _attention()
    attention = setting.tensor(attention).requires_grad_()
    value = loss(attention, source.to(setting.device), target.to(setting.device))
    return {"the penalty": value.detach(), "gradient": torch.autograd.grad(value.sum(), attention)[0]}


@law("attention")
def attention_is_finite_where_certain(loss: AttentionPenalty) -> str:
    """Where each word attends to one alone, value and gradient are finite in float32."""
    attention, source, target = _attention()
    scores = (1e4 * attention).float().requires_grad_()
    value = loss(scores.softmax(-1), source, target)
    finite("the penalty is", value)
    finite("the gradient in the attention's scores is", torch.autograd.grad(value.sum(), scores)[0])
    return f"values {number(value)}"


@law("attention")
def attention_can_be_lowered(loss: AttentionPenalty) -> str:
    """Descending it over the attention lowers it."""
    _, source, target = _attention()
    scores = torch.randn(2, 5, 6, generator=seeded(1), dtype=torch.float64, requires_grad=True)

    def compute() -> Tensor:
        return loss(scores.masked_fill(~source.unsqueeze(1), -torch.inf).softmax(-1), source, target).sum()

    first, last = descend(compute, [scores], rate=0.1, steps=100)
    if not last < 0.9 * first:
        raise LawBroken(f"100 steps take it from {first:.4g} to {last:.4g}, expected less than {0.9 * first:.4g}.")
    return f"from {first:.4g} to {last:.4g}"


@law("attention")
def attention_ignores_padding(loss: AttentionPenalty) -> str:
    """What the masks leave out changes nothing, and sentences do not see each other."""
    attention, source, target = _attention()
    whole = loss(attention, source, target)
    both = target.unsqueeze(2) & source.unsqueeze(1)
    same("with other padding the penalty is", loss(torch.where(both, attention, 7.0), source, target), whole)
    each_alone(whole, (source, target), lambda i, j: loss(attention[*j, i[1]], source[i], target[j]))
    return "padding and other sentences count nothing"


@law("attention")
def attention_derivative_is_right(loss: AttentionPenalty) -> str:
    """The penalty is not negative, and its derivative is that of the value."""
    attention, source, target = _attention()
    if bool((loss(attention, source, target) < 0.0).any()):
        raise LawBroken(f"the penalty is {number(loss(attention, source, target))}, expected none below 0.")
    inner = attention[:1]
    return derivatives_agree("the penalty", lambda a: loss(a, source[:1], target[:1]), (inner,), second=False)
