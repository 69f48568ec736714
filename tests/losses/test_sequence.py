"""Token, context, completion, embedding and attention losses: conventions, masks, invariances, errors."""

import itertools
import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from genloss.losses import (
    AttentionEntropy,
    BagOfWords,
    Coverage,
    DoublyStochastic,
    EditInvariant,
    GuidedAttention,
    OptimalCompletion,
    SequenceMatching,
    TokenCrossEntropy,
    expected_embeddings,
    mask_after_end,
    perplexity,
    sequence_log_prob,
)

BATCH, LENGTH, VOCABULARY = 3, 5, 7
TOKEN_LOSSES = [TokenCrossEntropy(), TokenCrossEntropy(label_smoothing=0.1), EditInvariant(), EditInvariant(sizes=(2,))]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64)


def setting():
    logits = normal(BATCH, LENGTH, VOCABULARY)
    targets = torch.randint(0, VOCABULARY, (BATCH, LENGTH), generator=rng(1))
    mask = torch.arange(LENGTH) < torch.tensor([5, 3, 1])[:, None]
    return logits, targets, mask


def test_cross_entropy_equals_torch_with_its_smoothing_convention():
    logits, targets, mask = setting()
    for smoothing in (0.0, 0.1, 0.5):
        expected = cross_entropy(logits.transpose(1, 2), targets, reduction="none", label_smoothing=smoothing)
        found = TokenCrossEntropy(label_smoothing=smoothing)(logits, targets, mask)
        torch.testing.assert_close(found, (expected * mask).sum(1))


def test_the_smoothed_target_has_the_stated_probabilities():
    # The gradient at uniform logits is softmax less target; the target is 1 - e + e / V.
    logits = torch.zeros(1, 1, 5, dtype=torch.float64, requires_grad=True)
    loss = TokenCrossEntropy(label_smoothing=0.1)(logits, torch.tensor([[2]]), torch.tensor([[True]]))
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    target = 0.2 - gradient[0, 0]
    torch.testing.assert_close(target, torch.tensor([0.02, 0.02, 0.92, 0.02, 0.02]).double())


def test_perplexity_comes_from_the_unsmoothed_likelihood():
    logits, targets, mask = setting()
    log_prob = sequence_log_prob(logits, targets, mask)
    torch.testing.assert_close(log_prob, -TokenCrossEntropy()(logits, targets, mask))
    value = perplexity(log_prob, mask)
    assert value.item() == pytest.approx(math.exp(-log_prob.sum().item() / 9))
    uniform = sequence_log_prob(torch.zeros_like(logits), targets, mask)
    assert perplexity(uniform, mask).item() == pytest.approx(VOCABULARY)
    smoothed = TokenCrossEntropy(label_smoothing=0.1)(logits, targets, mask)
    assert math.exp(smoothed.sum().item() / 9) != pytest.approx(value.item(), rel=1e-3)
    with pytest.raises(ValueError, match="no token counts"):
        perplexity(log_prob, torch.zeros_like(mask))


@pytest.mark.parametrize("loss", TOKEN_LOSSES, ids=repr)
def test_padding_batch_order_and_other_sentences_do_not_matter(loss):
    logits, targets, mask = setting()
    whole = loss(logits, targets, mask)
    junk_logits = torch.where(mask.unsqueeze(-1), logits, torch.full_like(logits, -math.inf))
    junk_targets = torch.where(mask, targets, (targets + 3) % VOCABULARY)
    torch.testing.assert_close(loss(junk_logits, junk_targets, mask), whole)
    torch.testing.assert_close(loss(logits.flip(0), targets.flip(0), mask.flip(0)), whole.flip(0))
    torch.testing.assert_close(loss(logits[1:2, :3], targets[1:2, :3], mask[1:2, :3]), whole[1:2])


@pytest.mark.parametrize("loss", TOKEN_LOSSES, ids=repr)
def test_gradcheck_and_no_gradient_from_padding(loss):
    logits, targets, mask = setting()
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda a: loss(a, targets, mask), (logits,))
    (gradient,) = torch.autograd.grad(loss(logits, targets, mask).sum(), logits)
    assert gradient[~mask].abs().max() == 0


@pytest.mark.parametrize("loss", TOKEN_LOSSES, ids=repr)
def test_impossible_tokens_and_large_logits_stay_numbers(loss):
    logits, targets, mask = setting()
    assert loss(1e4 * logits, targets, mask).isfinite().all()
    assert loss(logits.bfloat16(), targets, mask).dtype == torch.float32
    forbidden = logits.clone()
    forbidden[..., (targets[0, 0] + 1) % VOCABULARY] = -math.inf
    assert not loss(forbidden, targets, mask).isnan().any()


def test_what_follows_the_end_counts_nothing():
    # One library goes on adding log-probabilities until the whole batch has ended.
    tokens = torch.tensor([[4, 0, 5, 0], [3, 3, 3, 0], [0, 1, 1, 1]])
    mask = mask_after_end(tokens, 0)
    assert mask.tolist() == [[True, True, False, False], [True] * 4, [True, False, False, False]]
    logits = normal(3, 4, VOCABULARY)
    after = logits + 10.0 * normal(3, 4, VOCABULARY, seed=3) * ~mask.unsqueeze(-1)
    torch.testing.assert_close(sequence_log_prob(after, tokens, mask), sequence_log_prob(logits, tokens, mask))


def test_edit_invariant_finds_a_shifted_phrase():
    targets = torch.tensor([[0, 1, 2, 3, 4]])
    mask = torch.ones_like(targets, dtype=torch.bool)
    sure = 40.0 * torch.eye(VOCABULARY).double()
    right, shifted, reversed_ = (
        sure[torch.tensor([order])] for order in ([0, 1, 2, 3, 4], [6, 0, 1, 2, 3], [4, 3, 2, 1, 0])
    )
    loss = EditInvariant(sizes=(2,))
    assert loss(right, targets, mask).item() == pytest.approx(0.0, abs=1e-6)
    # Of four bigrams the last fits nowhere: one in four costs 40 nats a token.
    assert loss(shifted, targets, mask).item() == pytest.approx(40.0 / 4, rel=0.01)
    assert loss(reversed_, targets, mask).item() > 15.0
    assert TokenCrossEntropy()(shifted, targets, mask).item() > 150.0
    assert EditInvariant(sizes=(1,))(reversed_, targets, mask).item() == pytest.approx(0.0, abs=1e-6)


def test_edit_invariant_equals_its_formula():
    logits, targets, mask = setting()
    log_probs = logits.log_softmax(-1)
    expected = []
    for b, length in enumerate((5, 3, 1)):
        sizes = [n for n in (1, 2) if n <= length]
        means = []
        for n in sizes:
            grams = []
            for i in range(length - n + 1):
                g = torch.stack(
                    [
                        torch.stack([log_probs[b, j + k, targets[b, i + k]] for k in range(n)]).mean()
                        for j in range(length - n + 1)
                    ]
                )
                grams.append((g.softmax(0) * g).sum())
            means.append(torch.stack(grams).mean())
        expected.append(-torch.stack(means).mean())
    torch.testing.assert_close(EditInvariant(sizes=(1, 2))(logits, targets, mask), torch.stack(expected))


def test_bag_of_words_ignores_order_and_padding():
    logits, targets, mask = normal(BATCH, VOCABULARY), *setting()[1:]
    loss = BagOfWords()(logits, targets, mask)
    order = torch.tensor([2, 0, 1, 4, 3])
    torch.testing.assert_close(BagOfWords()(logits, targets[:, order], mask[:, order]), loss)
    expected = -(logits.log_softmax(1).gather(1, targets) * mask).sum(1)
    torch.testing.assert_close(loss, expected)


END = 0


def best_reachable(prefix, target):
    """The smallest edit distance of any completion of the prefix, by trying all of them."""
    return min(
        levenshtein([*prefix, *rest], target)
        for size in range(len(target) + 1)
        for rest in itertools.product((1, 2), repeat=size)
    )


def levenshtein(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a):
        new = [i + 1]
        for j, y in enumerate(b):
            new.append(min(row[j + 1] + 1, new[j] + 1, row[j] + (x != y)))
        row = new
    return row[-1]


@pytest.mark.parametrize("target", [[1], [1, 2], [2, 2, 1], [1, 2, 1, 2], []])
def test_optimal_completion_equals_enumeration_over_three_symbols(target):
    """End, 1 and 2: after every prefix, exactly the tokens that keep the best reachable distance are optimal."""
    logits = normal(1, 4, 3)
    log_probs = logits.log_softmax(-1)[0]
    for sample in itertools.product((0, 1, 2), repeat=4):
        expected = torch.tensor(0.0).double()
        for t in range(4):
            prefix = list(sample[:t])
            if END in prefix:
                break
            best = best_reachable(prefix, target)
            optimal = [token for token in (1, 2) if best_reachable([*prefix, token], target) == best]
            optimal += [END] if levenshtein(prefix, target) == best else []
            share = 1.0 / len(optimal)
            expected = expected + sum(share * (math.log(share) - log_probs[t, token]) for token in optimal)
        found = OptimalCompletion(end=END)(logits, torch.tensor([sample]), torch.tensor([[*target, END]]))
        torch.testing.assert_close(found[0], expected)


def test_optimal_completion_pads_and_batches():
    loss = OptimalCompletion(end=END)
    logits, samples = normal(2, 4, 4), torch.tensor([[1, 2, 0, 3], [3, 3, 1, 0]])
    targets = torch.tensor([[1, 0, 2, 2], [3, 1, 2, 0]])  # what follows the end is padding
    whole = loss(logits, samples, targets)
    torch.testing.assert_close(loss(logits[:1], samples[:1], targets[:1, :2]), whole[:1])
    torch.testing.assert_close(loss(logits[1:], samples[1:], targets[1:]), whole[1:])
    assert torch.autograd.gradcheck(lambda a: loss(a, samples, targets), (logits.requires_grad_(),))
    with pytest.raises(ValueError, match="no end token"):
        loss(logits, samples, torch.ones(2, 3).long())
    with pytest.raises(ValueError, match="targets have shape"):
        loss(logits, samples, torch.zeros(3, 3).long())


def test_expected_embeddings():
    logits, table = normal(2, 3, 5).requires_grad_(), normal(5, 4, seed=1)
    expected = expected_embeddings(logits, table)
    torch.testing.assert_close(expected, logits.softmax(-1) @ table)
    hard = expected_embeddings(logits, table, mode="straight_through")
    torch.testing.assert_close(hard, table[logits.argmax(-1)])
    weights = normal(2, 3, 4, seed=2)
    soft_gradient, hard_gradient = (torch.autograd.grad((e * weights).sum(), logits)[0] for e in (expected, hard))
    torch.testing.assert_close(soft_gradient, hard_gradient)
    # At a low temperature Gumbel noise makes exact draws: each token as often as its probability.
    one = torch.tensor([[[0.0, 1.0, 2.0]]]).double().expand(1, 20000, 3)
    drawn = expected_embeddings(one, torch.eye(3).double(), mode="gumbel", temperature=1e-4, rng=rng())
    torch.testing.assert_close(drawn.mean(1)[0], one[0, 0].softmax(0), atol=0.02, rtol=0)
    with pytest.raises(ValueError, match="got no rng"):
        expected_embeddings(logits, table, mode="gumbel")
    with pytest.raises(ValueError, match="vocabulary, dim"):
        expected_embeddings(logits, table.mT)


def test_sequence_matching_is_the_masked_squared_distance():
    a, b, mask = normal(3, 5, 2), normal(3, 5, 2, seed=1), setting()[2]
    expected = ((a - b).square().sum(-1) * mask).sum(1)
    torch.testing.assert_close(SequenceMatching()(a, b, mask), expected)
    torch.testing.assert_close(SequenceMatching()(a.masked_fill(~mask.unsqueeze(-1), math.inf), b, mask), expected)
    with pytest.raises(ValueError, match="shapes differ"):
        SequenceMatching()(a, b[:, :2], mask)


PENALTIES = [Coverage(), DoublyStochastic(), GuidedAttention(), AttentionEntropy()]


def attention_setting():
    source = torch.arange(6) < torch.tensor([6, 4, 2])[:, None]
    target = torch.arange(5) < torch.tensor([5, 3, 2])[:, None]
    attention = normal(3, 5, 6).masked_fill(~source.unsqueeze(1), -math.inf).softmax(-1)
    return attention, source, target


@pytest.mark.parametrize("penalty", PENALTIES, ids=repr)
def test_attention_penalties_ignore_padding_and_other_sentences(penalty):
    attention, source, target = attention_setting()
    whole = penalty(attention, source, target)
    assert whole.shape == (3,)
    assert (whole >= 0).all()
    both = target.unsqueeze(2) & source.unsqueeze(1)
    junk = torch.where(both, attention, torch.full_like(attention, 9.0))
    torch.testing.assert_close(penalty(junk, source, target), whole)
    cut = penalty(attention[1:2, :3, :4], source[1:2, :4], target[1:2, :3])
    torch.testing.assert_close(cut, whole[1:2])
    inside = attention[:1].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda a: penalty(a, source[:1], target[:1]), (inside,))


def test_attention_penalties_equal_their_formulas():
    attention, source, target = attention_setting()
    a = attention[0]
    seen, coverage = torch.zeros(6).double(), 0.0
    for row in a:
        coverage += torch.minimum(row, seen).sum()  # what was seen before, without the present token
        seen = seen + row
    torch.testing.assert_close(Coverage()(attention, source, target)[0], coverage)
    torch.testing.assert_close(DoublyStochastic()(attention, source, target)[0], ((1 - a.sum(0)) ** 2).sum())
    torch.testing.assert_close(AttentionEntropy()(attention, source, target)[0], -(a * a.log()).sum())
    n, t = torch.arange(6) / 6, torch.arange(5) / 5
    charge = 1 - torch.exp(-((n[None] - t[:, None]) ** 2) / (2 * 0.2**2)).double()
    torch.testing.assert_close(GuidedAttention()(attention, source, target)[0], (a * charge).mean(), rtol=1e-5, atol=0)


def test_attention_at_its_best_costs_nothing():
    mask = torch.ones(1, 4, dtype=torch.bool)
    for penalty in PENALTIES:
        value, (gradient,) = penalised(penalty, torch.eye(4)[None], mask)
        assert value == 0.0
        assert not gradient.isnan().any()


def penalised(penalty, attention, mask):
    attention.requires_grad_()
    value = penalty(attention, mask, mask)
    return value.item(), torch.autograd.grad(value.sum(), attention)


def test_errors_say_what_to_do():
    logits, targets, mask = setting()
    with pytest.raises(TypeError, match=r"\.bool\(\)"):
        TokenCrossEntropy()(logits, targets, mask.long())
    with pytest.raises(TypeError, match=r"\.long\(\)"):
        TokenCrossEntropy()(logits, targets.float(), mask)
    with pytest.raises(ValueError, match="vocabulary"):
        TokenCrossEntropy()(logits.transpose(1, 2), targets, mask)
    with pytest.raises(ValueError, match="vocabulary"):
        BagOfWords()(logits, targets, mask)
    with pytest.raises(ValueError, match="label_smoothing"):
        TokenCrossEntropy(label_smoothing=1.0)
    with pytest.raises(ValueError, match="sizes"):
        EditInvariant(sizes=())
    with pytest.raises(ValueError, match="sizes"):
        EditInvariant(sizes=(0,))
    with pytest.raises(ValueError, match="width"):
        GuidedAttention(width=0.0)
    attention, source, target = attention_setting()
    with pytest.raises(ValueError, match=r"\(batch, target, source\)"):
        Coverage()(attention, target, source)
    with pytest.raises(TypeError, match=r"\.bool\(\)"):
        Coverage()(attention, source.float(), target)


def nan_under(values, mask):
    """Returns a leaf with NaN where the mask is false, as attention over padding alone makes it."""
    return values.detach().masked_fill(~mask.unsqueeze(-1), math.nan).requires_grad_()


def test_what_stands_under_the_mask_has_no_gradient_though_it_is_nan():
    mask = torch.tensor([[True, True, False]])
    targets = torch.tensor([[1, 0, 0]])
    logits = normal(1, 3, 4)
    for loss in (TokenCrossEntropy(label_smoothing=0.1), EditInvariant(sizes=(1, 2))):
        (wanted,) = torch.autograd.grad(loss(kept := logits.requires_grad_(), targets, mask).sum(), kept)
        given = nan_under(logits, mask)
        torch.testing.assert_close(torch.autograd.grad(loss(given, targets, mask).sum(), given)[0], wanted)
    given = nan_under(logits, mask)
    assert torch.autograd.grad(sequence_log_prob(given, targets, mask).sum(), given)[0].isfinite().all()
    given = nan_under(logits, mask)  # the sample ends with its second token
    assert torch.autograd.grad(OptimalCompletion(end=0)(given, targets, targets).sum(), given)[0].isfinite().all()
    given = nan_under(logits, mask)
    loss = SequenceMatching()(given, torch.zeros_like(given), mask).sum()
    assert torch.autograd.grad(loss, given)[0].isfinite().all()


def test_a_sentence_shorter_than_every_ngram_has_loss_and_gradient_zero():
    logits = normal(2, 1, 5).requires_grad_()
    loss = EditInvariant(sizes=(2,))(logits, torch.zeros(2, 1).long(), torch.ones(2, 1).bool())
    assert loss.tolist() == [0.0, 0.0]
    assert torch.autograd.grad(loss.sum(), logits)[0].abs().max() == 0.0


@pytest.mark.parametrize("scores", [[[0.5, -0.5, 1.0]], [[1.0, 1.0, 0.0]]])
def test_attention_that_is_no_softmax_is_refused(scores):
    mask = torch.ones(1, 3, dtype=torch.bool)
    with pytest.raises(ValueError, match="expected weights of at least 0 that sum to 1; pass the softmax"):
        AttentionEntropy()(torch.tensor([scores]), mask, mask[:, :1])


def test_tokens_that_cannot_be():
    logits, tokens = torch.zeros(1, 2, 3), torch.tensor([[1, 0]])
    with pytest.raises(ValueError, match="targets hold 9"):
        OptimalCompletion(end=0)(logits, tokens, torch.tensor([[9, 0]]))
    with pytest.raises(ValueError, match="end is -1, expected a whole number of at least 0"):
        OptimalCompletion(end=-1)
    with pytest.raises(TypeError, match=r"tokens have dtype torch.float32, expected torch.int64"):
        mask_after_end(torch.zeros(1, 2), 0)
    with pytest.raises(ValueError, match=r"log_prob reach 0.7, expected log-probabilities, at most 0"):
        perplexity(torch.tensor([0.7]), torch.ones(1, 2, dtype=torch.bool))
    with pytest.raises(TypeError, match=r"dtypes or devices differ: logits torch.float64"):
        expected_embeddings(logits.double(), torch.zeros(3, 2))
