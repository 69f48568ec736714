"""The classifier in whose features samples are measured: trained once a data set, kept, and never the wrong one."""

import numpy as np
import pytest
import torch

from genloss.data import cache_folder, load_data
from genloss.runs import features
from genloss.runs.features import feature_space


@pytest.fixture(autouse=True)
def short(tmp_path, monkeypatch):
    monkeypatch.setenv("GENLOSS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(features, "BATCHES", 3)


def labelled(path, classes):
    """The same rows whatever their labels."""
    values = np.random.default_rng(0).normal(size=(40, 3))
    np.savez(path, x=values, label=np.arange(40) % classes if classes else np.arange(40) // 20)
    return load_data(path)


def kept():
    return sorted((cache_folder() / "features").iterdir())


def test_the_cache_tells_the_labels_apart(tmp_path):
    names = {feature_space("classifier", labelled(tmp_path / "a.npz", classes)).name for classes in (2, 3, 0, 2)}
    assert len(names) == len(kept()) == 3


def test_a_kept_classifier_is_used_and_a_broken_one_made_anew(tmp_path, monkeypatch):
    data = labelled(tmp_path / "a.npz", 2)
    name = feature_space("classifier", data).name
    (file,) = kept()
    content = file.read_bytes()
    for broken in (content[:100], content[:-10], b"", b"text"):
        file.write_bytes(broken)
        assert feature_space("classifier", data).name == name
        assert file.read_bytes() == content
    monkeypatch.setattr(features, "_train", None)
    assert feature_space("classifier", data).name == name


def test_without_a_cache_the_run_goes_on(tmp_path):
    data = labelled(tmp_path / "a.npz", 2)
    name = feature_space("classifier", data).name
    (tmp_path / "cache" / "features").rename(tmp_path / "cache" / "old")
    (tmp_path / "cache" / "features").write_text("a file, so no folder can be made here")
    with pytest.warns(UserWarning, match=r"could not be kept in .*cache/features': .* GENLOSS_CACHE"):
        space = feature_space("classifier", data)
    assert space.name == name
    assert space.extract(torch.zeros(2, 3)).shape == (2, features.WIDTH)
