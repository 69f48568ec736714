"""Data sets behind one contract: toys with exact densities, images and tables."""

from __future__ import annotations

from genloss.data.base import Batch, Dataset, Modes, Split, Standardisation, ToyDensity

__all__ = ["Batch", "Dataset", "Modes", "Split", "Standardisation", "ToyDensity"]
