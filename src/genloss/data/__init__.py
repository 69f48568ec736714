"""Data sets behind one contract: toys with exact densities, images and tables."""

from __future__ import annotations

from genloss.data.base import Batch, Dataset, Modes, Split, Standardisation, ToyDensity
from genloss.data.load import known_datasets, load_data
from genloss.data.named import cache_folder
from genloss.data.toys import Checkerboard, GaussianMixture, Grid, Pinwheel, Ring, SwissRoll, TwoMoons, make_toy

__all__ = [
    "Batch",
    "Checkerboard",
    "Dataset",
    "GaussianMixture",
    "Grid",
    "Modes",
    "Pinwheel",
    "Ring",
    "Split",
    "Standardisation",
    "SwissRoll",
    "ToyDensity",
    "TwoMoons",
    "cache_folder",
    "known_datasets",
    "load_data",
    "make_toy",
]
