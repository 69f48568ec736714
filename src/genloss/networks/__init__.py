"""Networks built from the shape of the data. A network knows no loss."""

from genloss.networks.attention import (
    AdditiveAttention,
    Attention,
    AttentionalState,
    BilinearAttention,
    DotProductAttention,
    GatedUpdate,
)
from genloss.networks.base import Architecture, CouplesBatch, architectures, couples_batch
from genloss.networks.dcgan import DCGAN
from genloss.networks.inference import GaussianInference, TwoLayerInference
from genloss.networks.minibatch_discrimination import MinibatchDiscrimination
from genloss.networks.mlp import MLP
from genloss.networks.rbm import RBM
from genloss.networks.virtual_batch_norm import ReferenceBatch, VirtualBatchNorm

__all__ = [
    "DCGAN",
    "MLP",
    "RBM",
    "AdditiveAttention",
    "Architecture",
    "Attention",
    "AttentionalState",
    "BilinearAttention",
    "CouplesBatch",
    "DotProductAttention",
    "GatedUpdate",
    "GaussianInference",
    "MinibatchDiscrimination",
    "ReferenceBatch",
    "TwoLayerInference",
    "VirtualBatchNorm",
    "architectures",
    "couples_batch",
]
