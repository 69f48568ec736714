"""Risk and completion losses against sums over all sequences of three symbols, one of which ends them."""

import itertools

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import genloss.losses as losses

END, VOCABULARY, LENGTH = 0, 3, 3
WORDS = [tuple(w) for n in range(LENGTH + 1) for w in itertools.product((1, 2), repeat=n)]  # without their end
SEQUENCES = torch.tensor([(w + (END,) * LENGTH)[:LENGTH] for w in WORDS])
SEEDS = st.integers(0, 2**31 - 1)
WORD = st.lists(st.sampled_from((1, 2)), max_size=LENGTH)


def history_model(seed):
    """Returns logits `(sequences, length, vocabulary)` of a model that remembers: other ones after every prefix."""
    table, rng = {}, torch.Generator().manual_seed(seed)
    for length in range(LENGTH):
        for prefix in itertools.product(range(VOCABULARY), repeat=length):
            table[prefix] = torch.randn(VOCABULARY, generator=rng, dtype=torch.float64).requires_grad_()
    rows = [[table[tuple(s[:t])] for t in range(LENGTH)] for s in SEQUENCES.tolist()]
    return torch.stack([torch.stack(row) for row in rows]), list(table.values())


def log_probs(logits):
    return losses.sequence_log_prob(logits, SEQUENCES, losses.mask_after_end(SEQUENCES, END))


def edit_distance(a, b):
    """By the recursion of its definition."""
    if not a or not b:
        return len(a) + len(b)
    return min(edit_distance(a[1:], b) + 1, edit_distance(a, b[1:]) + 1, edit_distance(a[1:], b[1:]) + (a[0] != b[0]))


def costs_to(target):
    return torch.tensor([edit_distance(word, tuple(target)) for word in WORDS], dtype=torch.float64)


def gradient(value, parameters):
    found = torch.autograd.grad(value, parameters, allow_unused=True, retain_graph=True)
    return torch.cat([torch.zeros(VOCABULARY).double() if g is None else g for g in found])


@settings(max_examples=25, deadline=None)
@given(SEEDS, WORD)
def test_the_edit_distance_and_the_probabilities(seed, target):
    logits, _ = history_model(seed)
    assert abs(log_probs(logits).exp().sum().item() - 1.0) < 1e-9
    padded = torch.tensor([(*target, END)])
    found = losses.token_costs(losses.EditDistance(), SEQUENCES[None], padded, END)[0]
    assert found.tolist() == costs_to(target).tolist()


@settings(max_examples=25, deadline=None)
@given(SEEDS, WORD, st.floats(0.1, 2.0))
def test_minimum_risk_is_the_expected_cost_under_the_sharpened_model(seed, target, alpha):
    logits, parameters = history_model(seed)
    costs, log_p = costs_to(target), log_probs(logits)
    sharpened = log_p.exp().pow(alpha) / log_p.exp().pow(alpha).sum()
    exact = (sharpened * costs).sum()
    for loss in (losses.MinimumRisk(alpha=alpha), losses.ExpectedEditDistance(alpha=alpha)):
        risk = loss(log_p[None], costs[None]).sum()
        torch.testing.assert_close(risk, exact)
        torch.testing.assert_close(gradient(risk, parameters), gradient(exact, parameters))


@settings(max_examples=25, deadline=None)
@given(SEEDS, WORD, st.floats(-2.0, 4.0))
def test_policy_gradients_are_exact_in_the_mean_over_all_draws(seed, target, baseline):
    logits, parameters = history_model(seed)
    costs, log_p = costs_to(target), log_probs(logits)
    probability = log_p.detach().exp()
    exact = gradient((log_p.exp() * costs).sum(), parameters)
    greedy = losses.SelfCritical(baseline="greedy")
    loss = greedy(log_p[:, None], costs[:, None], greedy_costs=torch.full_like(costs, baseline))
    torch.testing.assert_close(gradient((probability * loss).sum(), parameters), exact)
    pairs = torch.cartesian_prod(torch.arange(len(WORDS)), torch.arange(len(WORDS)))
    loss = losses.SelfCritical(baseline="leave_one_out")(log_p[pairs], costs[pairs])
    torch.testing.assert_close(gradient((probability[pairs].prod(1) * loss).sum(), parameters), exact)


def best_tokens(prefix, target):
    """Tokens that begin a completion of the least edit distance, by trying all completions up to two tokens longer."""
    endings = [e for n in range(len(target) + 2) for e in itertools.product((1, 2), repeat=n)]
    by_token = {}
    for ending in endings:
        token = ending[0] if ending else END
        distance = edit_distance((*prefix, *ending), tuple(target))
        by_token[token] = min(distance, by_token.get(token, distance))
    return [token for token, distance in by_token.items() if distance == min(by_token.values())]


@settings(max_examples=40, deadline=None)
@given(SEEDS, WORD, WORD)
def test_optimal_completion_is_the_kl_to_the_best_completions(seed, target, sampled):
    sample = torch.tensor([((*sampled, END) + (1,) * LENGTH)[: LENGTH + 1]])  # what follows the end is noise
    logits = torch.randn(1, LENGTH + 1, VOCABULARY, generator=torch.Generator().manual_seed(seed)).double()
    log_p, exact = logits[0].log_softmax(-1), 0.0
    for t in range(len(sampled) + 1):
        best = best_tokens(tuple(sampled[:t]), target)
        share = torch.tensor(1.0 / len(best)).double()
        exact = exact + (share * (share.log() - log_p[t, best])).sum()
    found = losses.OptimalCompletion(end=END)(logits, sample, torch.tensor([[*target, END]]))
    torch.testing.assert_close(found[0], exact)
