"""Sequence losses as a careless person writes them, and the law that each mistake breaks."""

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, log_softmax, softmax, softplus

from genloss.losses import (
    AttentionPenalty,
    CompletionLoss,
    ContextLoss,
    Cost,
    EmbeddingLoss,
    RiskLoss,
    TokenLoss,
    mask_after_end,
)


class MaskForgotten(TokenLoss):
    """The mean over all positions, padding too."""

    def _loss(self, logits, targets, mask):
        return cross_entropy(logits.transpose(1, 2), targets, reduction="none").mean(1)


class SoftmaxTwice(TokenLoss):
    """`cross_entropy` on probabilities."""

    def _loss(self, logits, targets, mask):
        values = cross_entropy(softmax(logits, -1).transpose(1, 2), targets, reduction="none")
        return torch.where(mask, values, 0.0).sum(1)


class MaskedLogits(TokenLoss):
    """The mask is multiplied onto the logits: padding costs the logarithm of the vocabulary."""

    def _loss(self, logits, targets, mask):
        logits = logits * mask.unsqueeze(-1)
        return cross_entropy(logits.transpose(1, 2), targets, reduction="none").sum(1)


class LogOfSoftmax(TokenLoss):
    """log(softmax(x)) is minus infinity at large logits."""

    def _loss(self, logits, targets, mask):
        values = -softmax(logits, -1).log().gather(-1, targets.unsqueeze(-1)).squeeze(-1)
        return torch.where(mask, values, 0.0).sum(1)


class BatchOfTokens(TokenLoss):
    """The mean over all tokens of the batch, as `cross_entropy` has it by default."""

    def _loss(self, logits, targets, mask):
        return cross_entropy(logits[mask], targets[mask]).expand(len(logits))


class DividedByTheMeanLength(TokenLoss):
    """Every sentence divided by the mean number of tokens in the batch."""

    def _loss(self, logits, targets, mask):
        values = cross_entropy(logits.transpose(1, 2), targets, reduction="none")
        return torch.where(mask, values, 0.0).sum(1) * len(mask) / mask.sum()


class LastTokenDropped(TokenLoss):
    """The last token of a sentence, its end, is not counted."""

    def _loss(self, logits, targets, mask):
        values = cross_entropy(logits.transpose(1, 2), targets, reduction="none")
        return torch.where(mask[:, 1:], values[:, :-1], 0.0).sum(1)


class PairsOfTokens(TokenLoss):
    """The cross-entropy of neighbours together: sentences of one token have none."""

    def _loss(self, logits, targets, mask):
        values = cross_entropy(logits.transpose(1, 2), targets, reduction="none")
        return torch.where(mask[:, 1:], values[:, 1:] + values[:, :-1], 0.0).sum(1)


class AddedToProbabilities(TokenLoss):
    """log(softmax(x) + 1e-8): finite, and without a gradient from a logit of 18 on."""

    def _loss(self, logits, targets, mask):
        values = -(softmax(logits, -1) + 1e-8).log().gather(-1, targets.unsqueeze(-1)).squeeze(-1)
        return torch.where(mask, values, 0.0).sum(1)


class SmoothedTheWrongWay(TokenLoss):
    """Label smoothing with the sign of its uniform part turned: unlikely tokens pay without end."""

    def _loss(self, logits, targets, mask):
        log_probs = log_softmax(logits, -1)
        values = -0.9 * log_probs.gather(-1, targets.unsqueeze(-1)).squeeze(-1) + 0.1 * log_probs.mean(-1)
        return torch.where(mask, values, 0.0).sum(1)


class OwnRisk(RiskLoss):
    @property
    def cost(self):
        return OwnCost()

    def _loss(self, log_probs, costs, distinct, greedy_costs):
        if distinct is not None:
            log_probs = log_probs.masked_fill(~distinct, -torch.inf)
        return (log_probs.softmax(1) * costs).sum(1)


class RepeatsKept(OwnRisk):
    """The mask of distinct sequences is taken and forgotten."""

    def _loss(self, log_probs, costs, distinct, greedy_costs):
        return super()._loss(log_probs, costs, None, greedy_costs)


class RenormalisedOutOfLogSpace(OwnRisk):
    """p / sum(p): 0 / 0 for long sequences."""

    def _loss(self, log_probs, costs, distinct, greedy_costs):
        probabilities = log_probs.exp()
        return (probabilities / probabilities.sum(1, keepdim=True) * costs).sum(1)


class RewardForCost(OwnRisk):
    """The cost taken for a reward."""

    def _loss(self, log_probs, costs, distinct, greedy_costs):
        return -super()._loss(log_probs, costs, distinct, greedy_costs)


class NoBaseline(OwnRisk):
    """REINFORCE that subtracts no baseline: equal costs still push."""

    def _loss(self, log_probs, costs, distinct, greedy_costs):
        return (costs * log_probs).mean(1)


class BaselineOfTheBatch(OwnRisk):
    """The baseline is the mean over the batch's targets."""

    def _loss(self, log_probs, costs, distinct, greedy_costs):
        return ((costs - costs.mean()) * log_probs).mean(1)


class GreedyOfTheBatch(OwnRisk):
    """The baseline is the greedy cost of the batch's first target."""

    def _loss(self, log_probs, costs, distinct, greedy_costs):
        baseline = costs.mean(1, keepdim=True) if greedy_costs is None else greedy_costs[0]
        return ((costs - baseline) * log_probs).mean(1)


class GreedyAdded(OwnRisk):
    """The greedy cost is added where it belongs taken off; equal costs still cancel."""

    def _loss(self, log_probs, costs, distinct, greedy_costs):
        mean = costs.mean(1, keepdim=True)
        baseline = mean if greedy_costs is None else 2.0 * mean - greedy_costs.unsqueeze(1)
        return ((costs - baseline) * log_probs).mean(1)


class GradientIntoTheGreedy(OwnRisk):
    """The baseline is not detached."""

    def _loss(self, log_probs, costs, distinct, greedy_costs):
        baseline = costs.mean(1, keepdim=True) if greedy_costs is None else greedy_costs.unsqueeze(1)
        return ((costs - baseline) * log_probs).mean(1)


class OwnCost(Cost):
    """How many words are in one of both alone."""

    def _counter(self):
        return lambda produced, reference: float(len(set(produced) ^ set(reference)))


class CountsWords(Cost):
    """How many words are missing, whichever they are."""

    def _counter(self):
        return lambda produced, reference: float(abs(len(produced) - len(reference)))


class ReadsTheFirstWord(Cost):
    """The number of words and the first of them."""

    def _counter(self):
        return lambda produced, reference: float(len(produced) != len(reference) or produced[0] != reference[0])


class LengthCounts(AttentionPenalty):
    """A mean over all positions, padding too."""

    def _penalty(self, attention, source_mask, target_mask):
        return (attention.sum(1) - 1.0).square().mean(1)


class LogOfZero(AttentionPenalty):
    """The entropy as -a log a, which is 0 times infinity at 0."""

    def _penalty(self, attention, source_mask, target_mask):
        return -(attention * attention.log()).sum((1, 2))


class CosineOfZero(EmbeddingLoss):
    """One less the cosine, over norms that may be 0."""

    def _loss(self, embeddings, target_embeddings, mask):
        norms = embeddings.norm(dim=-1) * target_embeddings.norm(dim=-1)
        cosine = (embeddings * target_embeddings).sum(-1) / norms
        return torch.where(mask, 1.0 - cosine, 0.0).sum(1)


class SumsOfWords(EmbeddingLoss):
    """Sentences reduced to the sums of their words before they are compared."""

    def _loss(self, embeddings, target_embeddings, mask):
        return torch.where(mask.unsqueeze(-1), embeddings - target_embeddings, 0.0).sum(1).square().sum(1)


class MeanOfAllPositions(EmbeddingLoss):
    """The mean over the length of the batch, padding too."""

    def _loss(self, embeddings, target_embeddings, mask):
        each = (embeddings - target_embeddings).square().sum(-1)
        return torch.where(mask, each, 0.0).mean(1)


class RootOfTheSquares(EmbeddingLoss):
    """A norm written out, whose slope at equal sentences is not a number."""

    def _loss(self, embeddings, target_embeddings, mask):
        return (embeddings - target_embeddings).square().sum((1, 2)).sqrt()


class LastWordDropped(EmbeddingLoss):
    """The last position, taken for the end, is cut off."""

    def _loss(self, embeddings, target_embeddings, mask):
        kept = max(1, embeddings.shape[1] - 1)
        return (embeddings - target_embeddings)[:, :kept].square().sum((1, 2))


class OwnMatching(EmbeddingLoss):
    def _loss(self, embeddings, target_embeddings, mask):
        return (embeddings - target_embeddings).norm(dim=-1).sum(1)


class WordInStep(CompletionLoss):
    """The cross-entropy with the target's word at the same place, whatever the sample said before."""

    def _loss(self, sample_logits, samples, targets):
        length = min(samples.shape[1], targets.shape[1])
        values = cross_entropy(sample_logits[:, :length].transpose(1, 2), targets[:, :length], reduction="none")
        counts = mask_after_end(samples, 0)[:, :length] & mask_after_end(targets, 0)[:, :length]
        return torch.where(counts, values, 0.0).sum(1)


class TeachesItsOwnSample(CompletionLoss):
    """The cross-entropy with what the model said itself."""

    def _loss(self, sample_logits, samples, targets):
        values = cross_entropy(sample_logits.transpose(1, 2), samples, reduction="none")
        return torch.where(mask_after_end(samples, 0), values, 0.0).sum(1)


class PrefixOnly(CompletionLoss):
    """The cross-entropy with the sample itself, and on after its end."""

    def _loss(self, sample_logits, samples, targets):
        return cross_entropy(sample_logits.transpose(1, 2), samples, reduction="none").sum(1)


class BagOfProbabilities(ContextLoss):
    """log(softmax(x) + 1e-8), as for single tokens."""

    def _loss(self, logits, targets, mask):
        return -torch.where(mask, (softmax(logits, -1) + 1e-8).log().gather(1, targets), 0.0).sum(1)


class RightWordsAlone(ContextLoss):
    """A sigmoid for each right word and none for the others: 0 with all of them likely."""

    def _loss(self, logits, targets, mask):
        return torch.where(mask, softplus(-logits.gather(1, targets)), 0.0).sum(1)


class FirstWordAlone(ContextLoss):
    def _loss(self, logits, targets, mask):
        return -log_softmax(logits, -1).gather(1, targets)[:, 0]


class SigmoidForEachWord(ContextLoss):
    """Each word of the vocabulary in the target or not."""

    def _loss(self, logits, targets, mask):
        present = torch.zeros_like(logits).scatter_add(1, targets, mask.to(logits)).clamp(max=1.0)
        return binary_cross_entropy_with_logits(logits, present, reduction="none").sum(1)


class BagWithPadding(ContextLoss):
    def _loss(self, logits, targets, mask):
        return -log_softmax(logits, -1).gather(1, targets).sum(1)


MISTAKES = [
    (MaskForgotten(), "mask leaves out changes nothing"),
    (SoftmaxTwice(), "its gradient has not vanished"),
    (MaskedLogits(), "mask leaves out changes nothing"),
    (LogOfSoftmax(), "finite in float32"),
    (BatchOfTokens(), "sentences do not see each other"),
    (DividedByTheMeanLength(), "sentences do not see each other"),
    (LastTokenDropped(), "makes every right token surer"),
    (AddedToProbabilities(), "its gradient has not vanished"),
    (SmoothedTheWrongWay(), "do not lower it without end"),
    (RepeatsKept(), "distinct leaves out counts nothing"),
    (RenormalisedOutOfLogSpace(), "changes no gradient"),
    (RewardForCost(), "cheapest sequence more likely"),
    (NoBaseline(), "Equal costs"),
    (BaselineOfTheBatch(), "targets do not see each other"),
    (GreedyOfTheBatch(), "dearer greedy sequence"),
    (GreedyAdded(), "dearer greedy sequence"),
    (GradientIntoTheGreedy(), "dearer greedy sequence"),
    (CountsWords(), "any wrong word costs something"),
    (ReadsTheFirstWord(), "any wrong word costs something"),
    (LengthCounts(), "masks leave out changes nothing"),
    (LogOfZero(), "attends to one alone"),
    (CosineOfZero(), "at embeddings of 0"),
    (SumsOfWords(), "Equal sentences cost nothing, others more"),
    (MeanOfAllPositions(), "padding counts nothing"),
    (RootOfTheSquares(), "at equal sentences"),
    (LastWordDropped(), "whichever word it is"),
    (WordInStep(), "word too many or too few"),
    (TeachesItsOwnSample(), "its next token is raised"),
    (PrefixOnly(), "What follows a sample's end"),
    (BagOfProbabilities(), "gradient has not vanished"),
    (RightWordsAlone(), "every other one lowered"),
    (FirstWordAlone(), "every word of the target is raised"),
    (BagWithPadding(), "Padding counts nothing"),
]
SOUND = [OwnRisk(), OwnCost(), PairsOfTokens(), OwnMatching(), SigmoidForEachWord()]
