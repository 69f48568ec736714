"""Feature spaces in which samples are measured: pixels, or a classifier trained once on the user's training split."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn import functional

from genloss.data import Dataset, cache_folder
from genloss.errors import InputError
from genloss.training.randomness import seed_of, stream
from genloss.training.storage import write_file

__all__ = ["FeatureSpace", "feature_space"]

WIDTH = 64
BATCH = 128
EPOCHS = 3
BATCHES = 1000


@dataclass(frozen=True)
class FeatureSpace:
    """A named map from samples `(n, *shape)` in the data's range to features `(n, d)`.

    Args:
        name: what a number's signature carries; two numbers compare only when these are equal.
        extract: the map; the samples are its own to overwrite.
    """

    name: str
    extract: Callable[[Tensor], Tensor]


def feature_space(name: str, dataset: Dataset) -> FeatureSpace:
    """Returns the feature space `pixels` or `classifier` for a data set.

    Pixels are read in [0, 1] whatever range the networks use, so that numbers compare across models.
    """
    if name == "classifier":
        return _classifier_space(dataset)
    low, high = dataset.value_range or (0.0, 1.0)

    def pixels(x: Tensor) -> Tensor:
        return x.flatten(1).float().sub_(low).div_(high - low)

    return FeatureSpace("pixels" if dataset.kind == "image" else "values", pixels)


def _classifier(shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """A small network whose last but one layer is the feature space."""
    if len(shape) == 3:
        side = min(shape[1:])
        layers: list[nn.Module] = [nn.Conv2d(shape[0], 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        layers += [nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(min(4, side // 2)), nn.Flatten()]
        size = 64 * min(4, side // 2) ** 2
    else:
        size = int(torch.tensor(shape).prod())
        layers = [nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(size, WIDTH), nn.ReLU(), nn.Linear(WIDTH, classes))


def _classifier_space(dataset: Dataset) -> FeatureSpace:
    classes = len(dataset.class_names)
    if classes < 2:
        raise InputError(
            f"evaluation.features=classifier needs labels, but {dataset.name!r} has none; use features=pixels."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(0, "classifier"))
        network = _classifier(dataset.shape, classes)
    path = cache_folder() / "features" / f"{_key(dataset)}.safetensors"
    try:
        content = path.read_bytes()
        network.load_state_dict(safetensors.torch.load(content))
    except (OSError, RuntimeError, SafetensorError):  # not there, or not whole: made anew
        _train(network, dataset)
        content = safetensors.torch.save({key: value.contiguous() for key, value in network.state_dict().items()})
        _keep(path, content)
    body = network[:-1].eval().requires_grad_(False)
    name = f"classifier-{hashlib.sha256(content).hexdigest()[:12]}"

    def extract(x: Tensor) -> Tensor:
        device = x.device
        with torch.no_grad():
            return torch.cat([body.to(device)(chunk.float()) for chunk in x.split(500)])

    return FeatureSpace(name, extract)


def _keep(path: Path, content: bytes) -> None:
    """Writes the trained classifier to the cache; where that cannot be done the run goes on without."""
    try:
        write_file(path, content)
    except OSError as error:
        warnings.warn(
            f"The classifier that measures could not be kept in {str(path.parent)!r}: {error.strerror}. "
            "This run goes on; the next one trains it again, unless GENLOSS_CACHE names a folder that can be written.",
            stacklevel=2,
        )


def _key(dataset: Dataset) -> str:
    """A digest of what the classifier is trained on: every stored sample of the training split and its label."""
    part = dataset.splits["train"]
    facts = (dataset.name, dataset.shape, dataset.value_range, dataset.binarise, len(dataset.class_names), len(part))
    digest = hashlib.sha256(repr(facts).encode())
    for indices in torch.arange(len(part)).split(4096):
        values, labels = part.take(indices)
        assert labels is not None
        digest.update(values.cpu().numpy().tobytes())
        digest.update(labels.cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def _train(network: nn.Module, dataset: Dataset) -> None:
    """Trains the classifier for 3 epochs or 1,000 batches, whichever is more; deterministic, on streams of its own."""
    rng = stream(0, "classifier")
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    size = len(dataset.splits["train"])
    device = dataset.batch("train", torch.arange(1), rng).x.device
    network.to(device)
    for _ in range(max(EPOCHS, BATCHES * BATCH // size)):
        for indices in torch.randperm(size, generator=rng).split(BATCH):
            batch = dataset.batch("train", indices, rng)
            assert batch.labels is not None
            loss = functional.cross_entropy(network(batch.x), batch.labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    network.to("cpu")
