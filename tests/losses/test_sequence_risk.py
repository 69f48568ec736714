"""Risk losses against enumeration of all sequences of three symbols; the costs against their packages."""

import itertools
import sys

import pytest
import torch

from genloss.losses import (
    BLEU,
    ChrF,
    EditDistance,
    ExpectedEditDistance,
    MinimumRisk,
    SelfCritical,
    distinct_samples,
    mask_after_end,
    sequence_log_prob,
    token_costs,
)

END, VOCABULARY, LENGTH = 0, 3, 3


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


# All sequences that end, or reach the longest length: a complete set of outcomes of a model without memory.
SEQUENCES = torch.tensor(
    sorted(
        {tuple((s + (END,) * LENGTH)[:LENGTH]) for n in range(LENGTH + 1) for s in itertools.product((1, 2), repeat=n)}
    )
)
TARGET = torch.tensor([[1, 2, END]])


def model():
    return torch.randn(LENGTH, VOCABULARY, generator=rng(1), dtype=torch.float64).requires_grad_()


def log_probs_of(logits, sequences=SEQUENCES):
    return sequence_log_prob(logits.expand(len(sequences), -1, -1), sequences, mask_after_end(sequences, END))


def costs_of(sequences=SEQUENCES):
    return token_costs(EditDistance(), sequences[None], TARGET, END)[0].double()


def exact_gradient(logits):
    """Gradient of the expected cost over all sequences."""
    (gradient,) = torch.autograd.grad((log_probs_of(logits).exp() * costs_of()).sum(), logits)
    return gradient


def test_the_sequences_are_all_there_are():
    assert log_probs_of(model()).exp().sum().item() == pytest.approx(1.0)


def test_minimum_risk_over_all_sequences_is_the_expected_cost():
    logits = model()
    for loss in (MinimumRisk(), ExpectedEditDistance()):
        risk = loss(log_probs_of(logits)[None], costs_of()[None])
        assert risk.item() == pytest.approx((log_probs_of(logits).exp() * costs_of()).sum().item())
        (gradient,) = torch.autograd.grad(risk.sum(), logits)
        torch.testing.assert_close(gradient, exact_gradient(logits))


def test_alpha_sharpens_the_logarithm_and_not_the_probability():
    # The softmax of p itself gives nearly equal weights for long sequences: no signal.
    log_probs = torch.tensor([[-12.0, -15.0, -18.0, -25.0]])
    for alpha in (1.0, 0.5):
        weights = [MinimumRisk(alpha=alpha)(log_probs, torch.eye(4)[i][None]).item() for i in range(4)]
        assert weights == pytest.approx((alpha * log_probs[0]).softmax(0).tolist())
    assert MinimumRisk()(log_probs, torch.eye(4)[:1]).item() == pytest.approx(0.950, abs=1e-3)


def test_equal_costs_are_their_value_without_a_gradient():
    # Dividing by the largest cost gives 0 / 0 when all samples are perfect.
    log_probs = torch.tensor([[-1.0, -2.0]], requires_grad=True)
    for cost in (0.0, 3.0):
        risk = MinimumRisk()(log_probs, torch.full((1, 2), cost))
        assert risk.item() == pytest.approx(cost)
        assert torch.autograd.grad(risk.sum(), log_probs)[0].abs().max() < 1e-6


def test_repeats_count_once_with_distinct():
    samples = torch.tensor([[[1, END, 5], [2, END, 5], [1, END, 7]]])
    distinct = distinct_samples(samples, mask_after_end(samples, END))
    assert distinct.tolist() == [[True, True, False]]
    log_probs, costs = torch.tensor([[-1.0, -2.0, -1.0]]), torch.tensor([[0.0, 1.0, 0.0]])
    expected = MinimumRisk()(log_probs[:, :2], costs[:, :2])
    torch.testing.assert_close(MinimumRisk()(log_probs, costs, distinct=distinct), expected)
    assert MinimumRisk()(log_probs, costs).item() < expected.item()


def test_leave_one_out_is_unbiased_over_all_pairs_of_samples():
    logits = model()
    log_probs, costs = log_probs_of(logits), costs_of()
    n = len(SEQUENCES)
    first, second = (index.flatten() for index in torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij"))
    pairs = torch.stack((first, second), 1)
    loss = SelfCritical(baseline="leave_one_out")(log_probs[pairs], costs[pairs])
    probability = log_probs.detach().exp()
    (gradient,) = torch.autograd.grad((probability[first] * probability[second] * loss).sum(), logits)
    torch.testing.assert_close(gradient, exact_gradient(logits))


def test_a_greedy_baseline_is_unbiased_whatever_its_value():
    logits = model()
    log_probs, costs = log_probs_of(logits), costs_of()
    loss = SelfCritical(baseline="greedy")(log_probs[:, None], costs[:, None], greedy_costs=torch.full_like(costs, 1.7))
    (gradient,) = torch.autograd.grad((log_probs.detach().exp() * loss).sum(), logits)
    torch.testing.assert_close(gradient, exact_gradient(logits))


def test_every_sample_counts():
    # One library builds the sum over samples and returns the last term.
    log_probs = torch.tensor([[-1.0, -2.0, -3.0]], requires_grad=True)
    loss = SelfCritical()(log_probs, torch.tensor([[0.0, 1.0, 5.0]]))
    (gradient,) = torch.autograd.grad(loss.sum(), log_probs)
    torch.testing.assert_close(gradient, torch.tensor([[0.0 - 3.0, 1.0 - 2.5, 5.0 - 0.5]]) / 3)


def test_lowering_the_loss_lowers_the_cost():
    logits = model().detach().requires_grad_()
    optimiser = torch.optim.SGD([logits], lr=1.0)
    before = (log_probs_of(logits).exp() * costs_of()).sum().item()
    draw = rng(3)
    for _ in range(150):
        optimiser.zero_grad()
        drawn = torch.multinomial(log_probs_of(logits).detach().exp(), 8, replacement=True, generator=draw)
        SelfCritical()(log_probs_of(logits)[drawn][None], costs_of()[drawn][None]).sum().backward()
        optimiser.step()
    assert (log_probs_of(logits).exp() * costs_of()).sum().item() < 0.3 * before


@pytest.mark.parametrize("loss", [MinimumRisk(), ExpectedEditDistance(alpha=0.5), SelfCritical()], ids=repr)
def test_targets_do_not_see_each_other_nor_the_order_of_samples(loss):
    log_probs, costs = -torch.rand(3, 4, generator=rng()).double(), torch.rand(3, 4, generator=rng(1)).double()
    whole = loss(log_probs, costs)
    torch.testing.assert_close(loss(log_probs[1:2], costs[1:2]), whole[1:2])
    torch.testing.assert_close(loss(log_probs.flip(1), costs.flip(1)), whole)
    assert torch.autograd.gradcheck(lambda a: loss(a, costs), (log_probs.requires_grad_(),))
    extreme = loss(torch.tensor([[-1e5, -2e5]]), torch.tensor([[1.0, 2.0]]))
    assert extreme.isfinite().all()


def test_edit_distance_and_its_normalised_form():
    produced, references = [[1, 2, 3], ["a", "b"], []], [[1, 3], ["a", "b"], [1, 2]]
    assert EditDistance()(produced, references).tolist() == [1.0, 0.0, 2.0]
    assert EditDistance(normalised=True)(produced, references).tolist() == [0.5, 0.0, 1.0]


def test_a_perfect_short_sentence_costs_nothing_in_bleu():
    # A sentence of two words scores 0 when 4-grams that it cannot have are counted.
    costs = BLEU()([[1, 2], [1, 2, 3, 4, 5], [7, 8], []], [[1, 2], [1, 2, 3, 4, 5], [1, 2], [1]])
    assert costs[:2].tolist() == pytest.approx([0.0, 0.0], abs=1e-6)
    assert costs[2] > 0.9
    assert costs[3] == pytest.approx(1.0)


def test_bleu_and_chrf_equal_sacrebleu():
    import sacrebleu

    produced, reference = ["the", "cat", "sat", "on", "a", "mat"], ["the", "cat", "sat", "on", "the", "mat"]
    bleu = sacrebleu.sentence_bleu("the cat sat on a mat", ["the cat sat on the mat"], use_effective_order=True)
    assert BLEU()([produced], [reference]).item() == pytest.approx(1.0 - bleu.score / 100.0, abs=1e-6)
    chrf = sacrebleu.sentence_chrf("the cat sat on a mat", ["the cat sat on the mat"])
    assert ChrF()([produced], [reference]).item() == pytest.approx(1.0 - chrf.score / 100.0, abs=1e-6)


def test_token_costs_stop_at_the_end_and_can_make_words():
    samples = torch.tensor([[[1, 2, END, 2], [2, END, 1, 1]], [[1, 1, 1, 1], [END, 1, 1, 1]]])
    targets = torch.tensor([[1, 2, END, 9], [1, END, 9, 9]])
    found = token_costs(EditDistance(), samples, targets, END)
    assert found.tolist() == [[0.0, 1.0], [3.0, 1.0]]
    words = {1: "cat", 2: "dog"}
    texts = token_costs(ChrF(), samples, targets[:, :3], END, words=lambda tokens: [words.get(t, "?") for t in tokens])
    assert texts[0, 0].item() == pytest.approx(0.0, abs=1e-6)


def test_a_missing_package_is_one_line_with_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "rapidfuzz.distance", None)
    with pytest.raises(ImportError, match=r"pip install 'genloss\[text\]'"):
        EditDistance()([[1]], [[1]])
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics", None)
    for cost in (BLEU(), ChrF()):
        with pytest.raises(ImportError, match=r"pip install 'genloss\[text\]'"):
            cost([["a"]], [["a"]])


def test_errors_say_what_to_do():
    log_probs = torch.zeros(2, 3)
    with pytest.raises(ValueError, match="shapes differ"):
        MinimumRisk()(log_probs, torch.zeros(2, 2))
    with pytest.raises(ValueError, match=r"\(batch, samples\)"):
        MinimumRisk()(log_probs[0], log_probs[0])
    with pytest.raises(ValueError, match="expected greedy_costs"):
        SelfCritical(baseline="greedy")(log_probs, log_probs)
    with pytest.raises(ValueError, match="expected no greedy_costs"):
        SelfCritical()(log_probs, log_probs, greedy_costs=torch.zeros(2))
    with pytest.raises(ValueError, match="one a target"):
        SelfCritical(baseline="greedy")(log_probs, log_probs, greedy_costs=torch.zeros(3))
    with pytest.raises(ValueError, match="at least 2"):
        SelfCritical()(log_probs[:, :1], log_probs[:, :1])
    with pytest.raises(ValueError, match="has no baseline"):
        MinimumRisk()(log_probs, log_probs, greedy_costs=torch.zeros(2))
    with pytest.raises(ValueError, match="independent draws"):
        SelfCritical()(log_probs, log_probs, distinct=torch.ones(2, 3, dtype=torch.bool))
    with pytest.raises(ValueError, match="expected as many"):
        EditDistance()([[1]], [])
    with pytest.raises(TypeError, match="expected words"):
        ChrF()([[1]], [[1]])
    with pytest.raises(ValueError, match="samples have shape"):
        token_costs(EditDistance(), torch.zeros(2, 3).long(), torch.zeros(2, 3).long(), END)
    with pytest.raises(ValueError, match="alpha"):
        MinimumRisk(alpha=0.0)
    with pytest.raises(ValueError, match="baseline"):
        SelfCritical(baseline="none")


def test_bleu_compares_tokens_as_they_are():
    assert torch.equal(BLEU()([["a b", "c"]], [["a", "b", "c"]]), BLEU()([[9, 3]], [[1, 2, 3]]))
    assert BLEU()([[1, 2]], [["1", "2"]]).item() == pytest.approx(1.0)
    assert BLEU()([["a b", "c"]], [["a b", "c"]]).item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("cost", [EditDistance(), BLEU(), ChrF()])
def test_nothing_for_nothing_costs_nothing(cost):
    assert cost([[], []], [[], ["a"]]).tolist() == pytest.approx([0.0, 1.0])


@pytest.mark.parametrize("loss", [MinimumRisk, SelfCritical])
def test_a_cost_is_one_its_name_or_a_function(loss):
    assert loss(cost="bleu").cost == BLEU()
    samples, targets = torch.tensor([[[1, 2, 0], [1, 0, 0]]]), torch.tensor([[1, 2, 0]])
    mine = loss(cost=lambda produced, references: torch.tensor([float(len(each)) for each in produced]))
    assert token_costs(mine.cost, samples, targets, end=0).tolist() == [[2.0, 1.0]]
    with pytest.raises(ValueError, match=r"cost is 'blue': there is no cost loss named 'blue'. Did you mean 'bleu'"):
        loss(cost="blue")
    with pytest.raises(ValueError, match=r"cost is 3, expected a Cost such as BLEU\(\), its name, or a function"):
        loss(cost=3)


def test_samples_and_their_mask_have_one_shape():
    samples = torch.zeros(1, 2, 3).long()
    with pytest.raises(ValueError, match="shapes differ"):
        distinct_samples(samples, torch.ones(1, 3, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"expected \(batch, samples, length\)"):
        distinct_samples(samples[0], torch.ones(2, 3, dtype=torch.bool))
