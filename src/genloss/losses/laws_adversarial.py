"""The laws of adversarial losses."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from genloss.losses._adversarial import AdversarialLoss
from genloss.losses._law_tools import (
    Setting,
    derivatives_agree,
    descend,
    finite,
    memory_is_sound,
    number,
    probe,
    same,
    seeded,
)
from genloss.losses.card import Equilibrium
from genloss.losses.laws import LawBroken, LawSkipped, law

__all__: list[str] = []

_BATCH = 6
_FAR = 1e4  # logits that a critic without a penalty reaches
_WRONG = 30.0  # far enough for float32 sigmoids to round to 0 or 1
_VANISHED = 1e-3
_SHRUNK = 0.1  # some saturate slowly
_REACH = 20.0  # how far from 0 an equilibrium that is not stated is looked for


def _state(loss: AdversarialLoss) -> dict[str, Tensor]:
    """Returns a memory that has seen updates with real scores above fake ones."""
    state = loss.init_state()
    for _ in range(3 if state else 0):
        state = loss.next_state(state, torch.full((_BATCH,), 2.0), torch.zeros(_BATCH))
    return state


def _discriminator(loss: AdversarialLoss, real: Tensor, fake: Tensor) -> Tensor:
    return loss.discriminator(real, fake, state=_state(loss))


def _stated(loss: AdversarialLoss, batch: int) -> Equilibrium:
    stated = loss.equilibrium(batch=batch)
    if stated is None:
        raise LawSkipped("it states no equilibrium(), which a loss with a card does")
    return stated


def _shift_slope(loss: AdversarialLoss, score: float) -> float:
    """Returns how the discriminator's loss changes when all scores are shifted together, from this one on."""
    return sum(_discriminator_slopes(loss, score, score, torch.float64))


def _centre(loss: AdversarialLoss) -> float:
    """Returns a score at which the game may rest: the stated one, else one found between 0 and _REACH."""
    stated = loss.equilibrium()
    if stated is not None:
        return stated.score or 0.0
    low, high = (0.0, _REACH) if _shift_slope(loss, 0.0) < 0.0 else (-_REACH, 0.0)
    if abs(_shift_slope(loss, 0.0)) < 1e-9 or not _shift_slope(loss, low) < 0.0 < _shift_slope(loss, high):
        return 0.0
    for _ in range(50):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _shift_slope(loss, middle) < 0.0 else (low, middle)
    return 0.5 * (low + high)


def _range(loss: AdversarialLoss, far: float) -> tuple[float, float]:
    """Returns the lowest and highest scores, at most `far` from the centre, where the loss can be computed."""
    low, high = loss.score_range() or (-math.inf, math.inf)
    low, high = max(low, 0.0 if loss.energies else _centre(loss) - far), min(high, _centre(loss) + far)
    # A little inside, since float32 rounds the edges.
    return low + 1e-6 * (high - low), high - 1e-6 * (high - low)


def _scores(loss: AdversarialLoss, *shape: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Returns random real and fake scores around the equilibrium."""
    rng = seeded()
    real, fake = (_centre(loss) + torch.randn(shape, generator=rng, dtype=torch.float64) for _ in range(2))
    return (real.abs().to(dtype), fake.abs().to(dtype)) if loss.energies else (real.to(dtype), fake.to(dtype))


def _slopes(values: Tensor, *scores: Tensor) -> tuple[Tensor, ...]:
    """Returns the gradient of the mean in each sample's score, times the batch size."""
    return tuple(torch.autograd.grad(values.mean() * scores[0].shape[0], scores, allow_unused=False))


def _constant(loss: AdversarialLoss, real: float, fake: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Returns constant real and fake scores that require a gradient."""
    return (
        torch.full((_BATCH,), real, dtype=dtype, requires_grad=True),
        torch.full((_BATCH,), fake, dtype=dtype, requires_grad=True),
    )


def _generator_slope(loss: AdversarialLoss, fake: float, dtype: torch.dtype = torch.float64) -> float:
    """Returns the slope of the generator's loss in the score of fakes, real scores being at the centre."""
    real_scores, fake_scores = _constant(loss, _centre(loss), fake, dtype)
    return _slopes(loss.generator(fake_scores, real_scores.detach()), fake_scores)[0][0].item()


def _discriminator_slopes(loss: AdversarialLoss, real: float, fake: float, dtype: torch.dtype) -> tuple[float, float]:
    """Returns the slopes of the discriminator's loss in real and fake scores."""
    scores = _constant(loss, real, fake, dtype)
    real_slope, fake_slope = _slopes(_discriminator(loss, *scores), *scores)
    return real_slope[0].item(), fake_slope[0].item()


@probe("adversarial")
def _probe(loss: AdversarialLoss, setting: Setting) -> dict[str, Tensor]:
    """Returns both players' losses and the slopes that they train with."""
    real, fake = (setting.tensor(scores).requires_grad_() for scores in _scores(loss, _BATCH))
    state = {name: value.to(setting.device) for name, value in _state(loss).items()}
    discriminator = loss.discriminator(real, fake, state=state)
    generator = loss.generator(fake, real)
    of_real, of_fake = _slopes(discriminator, real, fake)
    return {
        "the discriminator's loss": discriminator.detach(),
        "the generator's loss": generator.detach(),
        "gradient of the discriminator's loss": torch.cat((of_real, of_fake)),
        "gradient of the generator's loss": _slopes(generator, fake)[0],
    }


@law("adversarial", shape=True)
def _shape(loss: AdversarialLoss) -> str:
    """Each player's loss is one number a sample, in float32 or better."""
    for shape in ((_BATCH,), (_BATCH, 1), (_BATCH, 1, 2, 2)):
        for dtype, expected in ((torch.bfloat16, torch.float32), (torch.float64, torch.float64)):
            real, fake = _scores(loss, *shape, dtype=dtype)
            players = {"discriminator": _discriminator(loss, real, fake), "generator": loss.generator(fake, real)}
            for player, values in players.items():
                if values.shape != (_BATCH,):
                    raise LawBroken(
                        f"scores of shape {shape} give the {player}'s loss the shape {tuple(values.shape)}, expected "
                        f"({_BATCH},): a mean or sum was taken too early."
                    )
                if values.dtype != expected:
                    raise LawBroken(f"the {player}'s loss of {dtype} scores is {values.dtype}, expected {expected}.")
    return f"({_BATCH},) for scores with 0, 1 and 3 patch axes"


@law("adversarial")
def _patches(loss: AdversarialLoss) -> str:
    """Patches are averaged after the loss."""
    real, fake = _scores(loss, _BATCH, 3)
    columns = list(zip(real.T, fake.T, strict=True))
    expected = torch.stack([_discriminator(loss, r, f) for r, f in columns]).mean(0)
    first = same("the discriminator's loss of 3 patches", _discriminator(loss, real, fake), expected)
    expected = torch.stack([loss.generator(f, r) for r, f in columns]).mean(0)
    second = same("the generator's loss of 3 patches", loss.generator(fake, real), expected)
    return f"largest difference {max(first, second):.1e}"


@law("adversarial")
def _equilibrium(loss: AdversarialLoss) -> str:
    """At the equilibrium both losses have the value that equilibrium() states."""
    stated = _stated(loss, _BATCH)
    for score in (stated.score,) if stated.score is not None else (0.0, 0.01):
        real, fake = _constant(loss, score, score, torch.float64)
        found = {"discriminator": _discriminator(loss, real, fake), "generator": loss.generator(fake, real)}
        for player, values in found.items():
            expected = getattr(stated, player)
            if expected is not None:
                what = f"at score {score:.4g} the {player}'s loss is"
                same(what, values, torch.full_like(values, expected), relative=1e-6)
    return f"discriminator {stated.discriminator:.6g}, generator {stated.generator}"


@law("adversarial")
def _stationary(loss: AdversarialLoss) -> str:
    """At the equilibrium no shift of all scores helps the discriminator."""
    centre = _centre(loss)
    real, fake = _discriminator_slopes(loss, centre, centre, torch.float64)
    slope = real + fake
    # Energies end at 0: there the loss may only rise.
    if abs(slope) > 1e-6 and not (loss.energies and slope > 0):
        raise LawBroken(
            f"at score {centre:.4g} a shift of all scores changes the discriminator's loss with slope "
            f"{slope:.4g} ({real:.4g} real, {fake:.4g} fake), expected 0."
        )
    return f"slope {slope:.1e}"


@law("adversarial")
def _optimum(loss: AdversarialLoss) -> str:
    """A critic that can no longer tell real from fake descends to the stated value."""
    stated, state = _stated(loss, _BATCH), _state(loss)
    low, high = _range(loss, 2.0)
    # One score for all samples; energies stay at 0 or above.
    free = torch.tensor(min(_centre(loss) + 1.0, high), dtype=torch.float64, requires_grad=True)

    def compute() -> Tensor:
        scores = free.clamp(min=low).expand(_BATCH)
        return loss.discriminator(scores, scores, state=state).mean()

    first, last = descend(compute, [free], rate=0.05)
    if abs(last - stated.discriminator) > 1e-3 * (1.0 + abs(stated.discriminator)):
        raise LawBroken(
            f"from score {_centre(loss) + 1.0:.4g} the discriminator's loss descends from {first:.6g} to {last:.6g} at "
            f"score {free.item():.4g}, expected {stated.discriminator:.6g}."
        )
    return f"from {first:.6g} to {last:.6g}, stated {stated.discriminator:.6g}"


@law("adversarial")
def _signs(loss: AdversarialLoss) -> str:
    """The discriminator parts real from fake scores, and the generator moves its scores to the real side."""
    to_real = -1.0 if loss.energies else 1.0
    centre = _centre(loss)
    real, fake = _discriminator_slopes(loss, centre, centre, torch.float64)
    side = "lower" if loss.energies else "raise"
    if not real * to_real < 0:
        raise LawBroken(
            f"the discriminator's loss has slope {real:+.4g} in real scores, so it does not {side} them; expected a "
            f"{'positive' if loss.energies else 'negative'} slope."
        )
    if not fake * to_real > 0:
        raise LawBroken(
            f"the discriminator's loss has slope {fake:+.4g} in fake scores, so it moves them to the real side; "
            f"expected a {'negative' if loss.energies else 'positive'} slope."
        )
    slope = _generator_slope(loss, centre - to_real)
    if slope == 0.0 and "generator" in loss.saturates():
        slope = _generator_slope(loss, centre)
    if not slope * to_real < 0:
        raise LawBroken(
            f"the generator's loss has slope {slope:+.4g} at fake score {centre - to_real:.4g}, so it does not {side} "
            f"the scores of its samples; expected a {'positive' if loss.energies else 'negative'} slope."
        )
    return f"slopes {real:+.3g} (real), {fake:+.3g} (fake), {slope:+.3g} (generator)"


@law("adversarial")
def _saturation(loss: AdversarialLoss) -> str:
    """A player's gradient vanishes where it is badly wrong if and only if saturates() names it."""
    to_real = -1.0 if loss.energies else 1.0
    usual_real, usual_fake = _discriminator_slopes(loss, _centre(loss), _centre(loss), torch.float32)
    for player in ("generator", "discriminator"):
        named = player in loss.saturates()
        # Who saturates slowly has done so at the end of the range.
        low, high = _range(loss, _FAR if named else _WRONG)
        bad, good = (high, low) if loss.energies else (low, high)
        if player == "generator":
            pairs = [(_generator_slope(loss, bad, torch.float32), _generator_slope(loss, _centre(loss) - to_real))]
        else:
            wrong_real, wrong_fake = _discriminator_slopes(loss, bad, good, torch.float32)
            pairs = [(wrong_real, usual_real), (wrong_fake, usual_fake)]
        if any(abs(far) <= (_SHRUNK if named else _VANISHED) * abs(near) for far, near in pairs) != named:
            text = ", ".join(f"{far:.3g} (near the equilibrium {near:.3g})" for far, near in pairs)
            raise LawBroken(
                f"with fakes at score {bad if player == 'generator' else good:.4g} and real samples at {bad:.4g} the "
                f"{player}'s slopes are {text}; expected {'one' if named else 'none'} to vanish, "
                f"since saturates() names {sorted(loss.saturates()) or 'nobody'}; compute in log space from scores, "
                "or, where the formula itself saturates, name the player there."
            )
    return f"saturates: {', '.join(sorted(loss.saturates())) or 'nobody'}"


@law("adversarial")
def _extremes(loss: AdversarialLoss) -> str:
    """Values and gradients are finite in float32 at extreme scores."""
    low, high = _range(loss, _FAR)
    for real_score, fake_score in ((low, high), (high, low), (low, low), (high, high)):
        real, fake = _constant(loss, real_score, fake_score, torch.float32)
        values = {"discriminator": _discriminator(loss, real, fake), "generator": loss.generator(fake, real.detach())}
        for player, value in values.items():
            where = f"at real score {real_score:.4g} and fake score {fake_score:.4g} the {player}'s"
            finite(f"{where} loss is", value)
            inputs = (real, fake) if player == "discriminator" else (fake,)
            for slope in _slopes(value, *inputs):
                finite(f"{where} gradient is", slope)
    return f"finite for scores from {low:.4g} to {high:.4g}"


@law("adversarial")
def _outside(loss: AdversarialLoss) -> str:
    """Outside its score range the loss raises instead of returning infinities."""
    low, high = loss.score_range() or (-math.inf, math.inf)
    outside = [edge + sign * (1.0 + 0.01 * abs(edge)) for edge, sign in ((low, -1), (high, 1)) if math.isfinite(edge)]
    for score in outside:
        real, fake = _constant(loss, score, score, torch.float32)
        for player, compute in (("discriminator", _discriminator), ("generator", lambda _, r, f: loss.generator(f, r))):
            try:
                values = compute(loss, real, fake)
            except ValueError:
                continue
            raise LawBroken(f"at score {score:.4g} the {player}'s loss is {number(values)}, expected a ValueError.")
    if not outside:
        raise LawSkipped("it states no range of scores: every finite one will do")
    return f"raises at {', '.join(f'{score:.4g}' for score in outside)}"


@law("adversarial")
def _precision(loss: AdversarialLoss) -> str:
    """Values in float32 are those of float64, from bfloat16 scores too."""
    worst = 0.0
    for spread in (1.0, 10.0):
        low, high = _range(loss, _FAR)
        wide = [_centre(loss) + spread * (scores - _centre(loss)) for scores in _scores(loss, _BATCH)]
        size = 1.0 + max(scores.abs().max().item() for scores in wide)
        for dtype in (torch.bfloat16, torch.float32):
            # Clamped twice: rounding may leave the range.
            real, fake = (scores.clamp(low, high).to(dtype).float().clamp(low, high) for scores in wide)
            pairs = {
                "discriminator": [_discriminator(loss, real.to(d), fake.to(d)) for d in (dtype, torch.float64)],
                "generator": [loss.generator(fake.to(d), real.to(d)) for d in (dtype, torch.float64)],
            }
            for player, (found, exact) in pairs.items():
                what = f"the {player}'s loss from {dtype} scores"
                worst = max(worst, same(what, found, exact, relative=2e-5, absolute=1e-6 * size))
    return f"largest difference {worst:.1e}"


@law("adversarial")
def _derivatives(loss: AdversarialLoss) -> str:
    """First and second derivatives are those of the value."""
    real, fake = _scores(loss, _BATCH)
    derivatives_agree("the discriminator's loss", lambda r, f: _discriminator(loss, r, f), (real, fake), second=True)
    return derivatives_agree("the generator's loss", lambda f: loss.generator(f, real), (fake,), second=True)


@law("adversarial")
def _permutation(loss: AdversarialLoss) -> str:
    """Samples in another order give the same values in that order."""
    real, fake = _scores(loss, _BATCH)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    what = "in another order the {}'s loss"
    expected = _discriminator(loss, real, fake)[order]
    first = same(what.format("discriminator"), _discriminator(loss, real[order], fake[order]), expected)
    expected = loss.generator(fake, real)[order]
    second = same(what.format("generator"), loss.generator(fake[order], real[order]), expected)
    return f"largest difference {max(first, second):.1e}"


@law("adversarial")
def _coupling(loss: AdversarialLoss) -> str:
    """The losses of a batch differ from those of its parts, put together, if and only if couples_batch says so."""
    real, fake = _scores(loss, _BATCH)
    pairs = list(zip(real.split([1, 2, 3]), fake.split([1, 2, 3]), strict=True))
    found = {
        "discriminator": (_discriminator(loss, real, fake), torch.cat([_discriminator(loss, r, f) for r, f in pairs])),
        "generator": (loss.generator(fake, real), torch.cat([loss.generator(f, r) for r, f in pairs])),
    }
    change = max((whole - parts).abs().max().item() for whole, parts in found.values())
    if (change > 1e-9) != loss.couples_batch:
        text = "; ".join(
            f"{who} {number(whole)} in a batch of {_BATCH} (mean {number(whole.mean())}), {number(parts)} in parts of "
            f"1, 2 and 3 (mean {number(parts.mean())})"
            for who, (whole, parts) in found.items()
        )
        raise LawBroken(f"couples_batch is {loss.couples_batch}, and the losses are: {text}.")
    return f"change {change:.1e} when the batch is split"


@law("adversarial")
def _memory(loss: AdversarialLoss) -> str:
    """A memory keeps its names and shapes, is detached, and is not changed in place."""
    real, fake = (scores.requires_grad_() for scores in _scores(loss, _BATCH, dtype=torch.float32))
    return memory_is_sound(loss.init_state(), lambda state: loss.next_state(state, real, fake))
