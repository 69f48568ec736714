"""Every loss of the catalogue, importable by its class name; needs torch alone."""

from genloss.losses.adversarial import *
from genloss.losses.batch_adversarial import *
from genloss.losses.card import *
from genloss.losses.catalogue import *
from genloss.losses.consistency import *
from genloss.losses.distances import *
from genloss.losses.divergences import *
from genloss.losses.energy_adversarial import *
from genloss.losses.f_divergence import *
from genloss.losses.feature_penalties import *
from genloss.losses.likelihood import *
from genloss.losses.parameter_penalties import *
from genloss.losses.penalties import *
from genloss.losses.transport import *
from genloss.losses.variational import *
