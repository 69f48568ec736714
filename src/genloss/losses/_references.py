"""The sources that several cards name; a card points at an equation with `Reference.at`."""

from __future__ import annotations

from genloss.losses.card import Reference

__all__ = [
    "ARJOVSKY_2017",
    "GOODFELLOW_2014",
    "GULRAJANI_2017",
    "HUANG_2024",
    "JOLICOEUR_2019",
    "LIM_2017",
    "MAO_2017",
    "MESCHEDER_2018",
    "MIYATO_2018",
    "NNDL",
    "NOWOZIN_2016",
    "RADFORD_2016",
    "SALIMANS_2016",
    "ZHAO_2017",
]

ARJOVSKY_2017 = Reference(
    authors="Arjovsky, Chintala, Bottou",
    year=2017,
    title="Wasserstein Generative Adversarial Networks",
    venue="ICML",
    url="https://arxiv.org/abs/1701.07875",
)
GOODFELLOW_2014 = Reference(
    authors="Goodfellow, Pouget-Abadie, Mirza, Xu, Warde-Farley, Ozair, Courville, Bengio",
    year=2014,
    title="Generative Adversarial Nets",
    venue="NeurIPS",
    url="https://arxiv.org/abs/1406.2661",
)
GULRAJANI_2017 = Reference(
    authors="Gulrajani, Ahmed, Arjovsky, Dumoulin, Courville",
    year=2017,
    title="Improved Training of Wasserstein GANs",
    venue="NeurIPS",
    url="https://arxiv.org/abs/1704.00028",
)
HUANG_2024 = Reference(
    authors="Huang, Gokaslan, Kuleshov, Tompkin",
    year=2024,
    title="The GAN is dead; long live the GAN! A Modern GAN Baseline",
    venue="NeurIPS",
    url="https://arxiv.org/abs/2501.05441",
)
JOLICOEUR_2019 = Reference(
    authors="Jolicoeur-Martineau",
    year=2019,
    title="The relativistic discriminator: a key element missing from standard GAN",
    venue="ICLR",
    url="https://arxiv.org/abs/1807.00734",
)
LIM_2017 = Reference(
    authors="Lim, Ye", year=2017, title="Geometric GAN", venue="arXiv", url="https://arxiv.org/abs/1705.02894"
)
MAO_2017 = Reference(
    authors="Mao, Li, Xie, Lau, Wang, Smolley",
    year=2017,
    title="Least Squares Generative Adversarial Networks",
    venue="ICCV",
    url="https://arxiv.org/abs/1611.04076",
)
MESCHEDER_2018 = Reference(
    authors="Mescheder, Geiger, Nowozin",
    year=2018,
    title="Which Training Methods for GANs do actually Converge?",
    venue="ICML",
    url="https://arxiv.org/abs/1801.04406",
)
MIYATO_2018 = Reference(
    authors="Miyato, Kataoka, Koyama, Yoshida",
    year=2018,
    title="Spectral Normalization for Generative Adversarial Networks",
    venue="ICLR",
    url="https://arxiv.org/abs/1802.05957",
)
NNDL = Reference(
    authors="Qiu",
    year=2020,
    title="Neural Networks and Deep Learning, chapter 13",
    venue="China Machine Press",
    url="https://nndl.github.io/",
)
NOWOZIN_2016 = Reference(
    authors="Nowozin, Cseke, Tomioka",
    year=2016,
    title="f-GAN: Training Generative Neural Samplers using Variational Divergence Minimization",
    venue="NeurIPS",
    url="https://arxiv.org/abs/1606.00709",
)
RADFORD_2016 = Reference(
    authors="Radford, Metz, Chintala",
    year=2016,
    title="Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks",
    venue="ICLR",
    url="https://arxiv.org/abs/1511.06434",
)
SALIMANS_2016 = Reference(
    authors="Salimans, Goodfellow, Zaremba, Cheung, Radford, Chen",
    year=2016,
    title="Improved Techniques for Training GANs",
    venue="NeurIPS",
    url="https://arxiv.org/abs/1606.03498",
)
ZHAO_2017 = Reference(
    authors="Zhao, Mathieu, LeCun",
    year=2017,
    title="Energy-based Generative Adversarial Networks",
    venue="ICLR",
    url="https://arxiv.org/abs/1609.03126",
)
