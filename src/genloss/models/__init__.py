"""Generative models: who minimises what."""

from genloss.models.base import GenerativeModel as GenerativeModel
from genloss.models.base import Player as Player
from genloss.models.base import Streams as Streams
from genloss.models.critics import AutoencoderCritic as AutoencoderCritic
from genloss.models.gan import GAN as GAN
from genloss.models.matching import Autoencoder as Autoencoder
from genloss.models.matching import MomentMatching as MomentMatching
from genloss.models.prior import Prior as Prior
from genloss.models.quantised import Codebook as Codebook
from genloss.models.quantised import QuantisedVAE as QuantisedVAE
from genloss.models.restraints import AppliedConstraint as AppliedConstraint
from genloss.models.restraints import AppliedPenalty as AppliedPenalty
from genloss.models.terms import Terms as Terms
from genloss.models.unrolling import Unrolling as Unrolling
from genloss.models.vae import VAE as VAE
