"""The sources that several cards of the likelihood-based losses name."""

from __future__ import annotations

from genloss.losses.card import Reference

__all__ = ["BURDA_2016", "GRETTON_2012", "KINGMA_2014", "LI_2015"]

BURDA_2016 = Reference(
    authors="Burda, Grosse, Salakhutdinov",
    year=2016,
    title="Importance Weighted Autoencoders",
    venue="ICLR",
    url="https://arxiv.org/abs/1509.00519",
)
GRETTON_2012 = Reference(
    authors="Gretton, Borgwardt, Rasch, Schoelkopf, Smola",
    year=2012,
    title="A Kernel Two-Sample Test",
    venue="JMLR",
    url="https://jmlr.org/papers/v13/gretton12a.html",
)
KINGMA_2014 = Reference(
    authors="Kingma, Welling",
    year=2014,
    title="Auto-Encoding Variational Bayes",
    venue="ICLR",
    url="https://arxiv.org/abs/1312.6114",
)
LI_2015 = Reference(
    authors="Li, Swersky, Zemel",
    year=2015,
    title="Generative Moment Matching Networks",
    venue="ICML",
    url="https://arxiv.org/abs/1502.02761",
)
