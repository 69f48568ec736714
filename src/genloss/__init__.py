"""genloss: train, measure and compare generative models by their loss."""

__version__ = "0.1.0"
