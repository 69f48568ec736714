"""What is masked out has no influence, and edges of losses on sequences keep their value and their gradient."""

import pytest
import torch

from genloss.losses import (
    BLEU,
    BagOfWords,
    ChrF,
    EditDistance,
    EditInvariant,
    GuidedAttention,
    MinimumRisk,
    OptimalCompletion,
    SequenceMatching,
    TokenCrossEntropy,
    dequantise,
    perplexity,
    token_costs,
)

NAN = float("nan")
ALL = torch.ones(1, 2, dtype=torch.bool)


def test_a_sentence_that_counts_nothing_gives_a_bag_no_gradient():
    logits = torch.tensor([[NAN, 1.0], [0.5, 0.0]], requires_grad=True)
    loss = BagOfWords()(logits, torch.zeros(2, 1, dtype=torch.long), torch.tensor([[False], [True]]))
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert loss[0] == 0.0
    assert torch.equal(gradient[0], torch.zeros(2))
    assert gradient[1].isfinite().all()


@pytest.mark.parametrize("cost", [float("inf"), NAN])
def test_the_cost_of_a_sample_that_is_not_distinct_counts_nothing(cost):
    distinct = torch.tensor([[True, False]])
    assert MinimumRisk()(torch.tensor([[-1.0, -2.0]]), torch.tensor([[1.0, cost]]), distinct=distinct) == 1.0


def test_padding_is_not_taken_for_probabilities():
    logits = torch.tensor([[[1.0, 0.0], [3.0, -2.0]]])  # the first row sums to 1, but does not count
    loss = TokenCrossEntropy()(logits, torch.tensor([[0, 0]]), torch.tensor([[False, True]]))
    assert loss.isfinite().all()


def test_guided_attention_does_not_see_on_which_side_the_padding_is():
    left, right = torch.zeros(1, 3, 5), torch.zeros(1, 3, 5)
    left[0, :, 2:], right[0, :, :3] = torch.eye(3), torch.eye(3)
    mask, real = torch.tensor([[False, False, True, True, True]]), torch.ones(1, 3, dtype=torch.bool)
    assert GuidedAttention()(left, mask, real) == GuidedAttention()(right, mask.flip(1), real) == 0.0


def test_an_n_gram_loss_pulls_at_any_logit():
    logits = torch.zeros(1, 2, 3)
    logits[..., 0] = 2e4
    logits.requires_grad_()
    loss = EditInvariant()(logits, torch.ones(1, 2, dtype=torch.long), ALL)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    torch.testing.assert_close(loss, torch.tensor([2e4]))
    assert (gradient[..., 1] < -0.1).all()


def test_smoothing_keeps_an_infinite_loss():
    logits = torch.tensor([[[0.0, 1.0, -float("inf")]]])
    mask = torch.ones(1, 1, dtype=torch.bool)
    assert TokenCrossEntropy(label_smoothing=0.1)(logits, torch.tensor([[2]]), mask) == float("inf")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_perplexity_is_computed_in_float32(dtype):
    log_prob = torch.full((64,), -2000.0, dtype=dtype)
    found = perplexity(log_prob, torch.ones(64, 500, dtype=torch.bool))
    torch.testing.assert_close(found, perplexity(log_prob.float(), torch.ones(64, 500, dtype=torch.bool)))


def test_optimal_completion_is_exact_in_float64():
    # After a wrong first token two tokens are optimal: log 2 less what uniform logits give each.
    logits = torch.zeros(1, 2, 3, dtype=torch.float64)
    loss = OptimalCompletion(end=0)(logits, torch.tensor([[2, 0]]), torch.tensor([[1, 0]]))
    log = torch.tensor([3.0, 2.0], dtype=torch.float64).log()
    best = [1, 2]  # after nothing, only token 1 is; after the wrong token, 1 and the end
    wanted = sum(log[0] - torch.tensor(float(n), dtype=torch.float64).log() for n in best)
    torch.testing.assert_close(loss[0], wanted, rtol=1e-14, atol=0.0)


@pytest.mark.parametrize(
    ("produced", "reference", "distance"), [([-1], [-2], 1.0), (["a"], [97], 1.0), ([(-1,)], [(-2,)], 1.0)]
)
def test_tokens_of_equal_hash_differ(produced, reference, distance):
    assert EditDistance()([produced], [reference]) == distance


@pytest.mark.parametrize("cost", [BLEU(), ChrF(), EditDistance()])
def test_a_text_is_not_taken_for_its_characters(cost):
    with pytest.raises(TypeError, match=r"the text 'the cat sat', expected its tokens; pass text\.split\(\)"):
        cost(["the cat sat"], [["the", "cat"]])


def test_a_cost_of_ones_own_returns_one_number_a_sequence():
    samples, targets = torch.ones(2, 3, 4, dtype=torch.long), torch.ones(2, 4, dtype=torch.long)
    found = token_costs(lambda produced, references: [1.0] * len(produced), samples, targets, end=0)
    assert torch.equal(found, torch.ones(2, 3))
    with pytest.raises(ValueError, match=r"returned shape \(1,\) for 6 sequences, expected \(6,\)"):
        token_costs(lambda produced, references: [1.0], samples, targets, end=0)


def test_what_is_no_tensor_or_no_sentence_is_named():
    logits, targets = torch.zeros(1, 2, 3), torch.zeros(1, 2, dtype=torch.long)
    for call, message in (
        (lambda: TokenCrossEntropy()(logits, targets, None), "mask is a NoneType, expected a torch.Tensor"),
        (lambda: TokenCrossEntropy()(logits, [[0, 0]], ALL), "tokens is a list, expected a torch.Tensor"),
        (lambda: SequenceMatching()(logits, logits, None), "mask is a NoneType"),
        (lambda: BagOfWords()(logits[0], None, ALL), "targets is a NoneType"),
        (lambda: dequantise(torch.zeros(2), 4, None), "rng is None, expected a torch.Generator"),
    ):
        with pytest.raises(TypeError, match=message):
            call()
    for loss in (TokenCrossEntropy(), EditInvariant()):
        with pytest.raises(ValueError, match=r"logits have shape \(1, 1, 2, 3\), expected \(batch, length, vocab"):
            loss(logits[None], targets[None], ALL[None])
    for wrong in ("a", None):
        with pytest.raises(ValueError, match=r"label_smoothing is .*, expected a finite number"):
            TokenCrossEntropy(label_smoothing=wrong)
    with pytest.raises(ValueError, match="expected a Cost such as BLEU"):
        MinimumRisk(cost=EditDistance)
