"""Every loss of the catalogue, importable by its class name; needs torch alone.

Bad input is refused in a sentence: shapes that would broadcast, integers, an empty batch, tensors of different dtypes
or devices, logits that come straight from a sigmoid or a softmax, and, looked at on the CPU only, data that are not
finite or outside a density's support and masks that leave nothing. What a network computed is not searched for NaN,
which would wait for the device at every step: NaN in gives NaN out. Test the loss that you log, or train with
`genloss`, whose loop names the first tensor that stopped being finite.
"""

from genloss.losses.adversarial import *
from genloss.losses.aggregate_posterior import *
from genloss.losses.alpha_divergence import *
from genloss.losses.attention_penalties import *
from genloss.losses.bag_of_words import *
from genloss.losses.batch_adversarial import *
from genloss.losses.card import *
from genloss.losses.catalogue import *
from genloss.losses.completion import *
from genloss.losses.consistency import *
from genloss.losses.discrete_likelihood import *
from genloss.losses.distances import *
from genloss.losses.divergences import *
from genloss.losses.embedding_losses import *
from genloss.losses.energy import *
from genloss.losses.energy_adversarial import *
from genloss.losses.f_adversarial import *
from genloss.losses.feature_penalties import *
from genloss.losses.importance_weighted import *
from genloss.losses.likelihood import *
from genloss.losses.maximum_likelihood import *
from genloss.losses.noise_contrastive import *
from genloss.losses.normal_divergences import *
from genloss.losses.parameter_penalties import *
from genloss.losses.penalties import *
from genloss.losses.samplers import *
from genloss.losses.score_matching import *
from genloss.losses.sequence import *
from genloss.losses.sequence_costs import *
from genloss.losses.sequence_risk import *
from genloss.losses.transport import *
from genloss.losses.variational import *
from genloss.losses.vector_quantised import *
