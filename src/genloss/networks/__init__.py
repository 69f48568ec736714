"""Networks built from the shape of the data. A network knows no loss."""

from genloss.networks.base import Architecture, architectures, couples_batch
from genloss.networks.dcgan import DCGAN
from genloss.networks.inference import GaussianInference, TwoLayerInference
from genloss.networks.mlp import MLP
from genloss.networks.rbm import RBM

__all__ = [
    "DCGAN",
    "MLP",
    "RBM",
    "Architecture",
    "GaussianInference",
    "TwoLayerInference",
    "architectures",
    "couples_batch",
]
