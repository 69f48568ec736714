"""Generative models: who minimises what."""

from genloss.models.base import GenerativeModel as GenerativeModel
from genloss.models.base import Player as Player
from genloss.models.base import Streams as Streams
from genloss.models.base import Terms as Terms
from genloss.models.gan import GAN as GAN
from genloss.models.gan import AppliedPenalty as AppliedPenalty
from genloss.models.matching import MomentMatching as MomentMatching
from genloss.models.prior import Prior as Prior
from genloss.models.vae import VAE as VAE
