"""Known sets: idx files, sheets, the digits, the hub, and where each is looked for."""

from __future__ import annotations

import gzip
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from genloss.data import known_datasets, load_data
from genloss.data.hub import HubSet, load_hub
from genloss.data.idx import read_idx
from genloss.data.images import ImageOptions
from genloss.data.named import NAMED
from genloss.errors import InputError
from tests.data.files import encoded, picture, write_idx, write_mnist, write_tar


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty GENLOSS_DATA and an empty cache, and no network."""
    monkeypatch.setenv("GENLOSS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("GENLOSS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hub")
    return tmp_path


@pytest.mark.parametrize(("name", "suffix"), [("mnist", ".gz"), ("mnist", ""), ("fashion_mnist", ".gz")])
def test_idx_sets(home: Path, name: str, suffix: str) -> None:
    write_mnist(home / "data" / name, suffix=suffix)
    data = load_data(name)
    assert data.shape == (1, 4, 4)
    assert {part: len(split) for part, split in data.splits.items()} == {"train": 27, "select": 3, "test": 10}
    for part in data.splits:
        batch = data.all(part)
        numbers = ((batch.x + 1) * 127.5).round()
        assert batch.labels is not None
        assert torch.equal(numbers[:, 0, 0, 0] % 10, batch.labels.float())
        assert (numbers == numbers[:, :1, :1, :1]).all()
    train = torch.cat([data.all(part).x[:, 0, 0, 0] for part in ("train", "select")])
    assert len(train.unique()) == 30
    assert len(data.class_names) == 10
    assert load_data(name, size=8).shape == (1, 8, 8)
    assert len(load_data(name, limit=4).all("train").x) == 4


def test_idx_values_are_read_in_order(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (7, 3, 5))
    for name in ("a.gz", "a"):
        write_idx(tmp_path / name, values)
        assert np.array_equal(read_idx(tmp_path / name).numpy(), values)


def test_broken_idx_files(tmp_path: Path) -> None:
    good = tmp_path / "good.gz"
    write_idx(good, np.arange(10))
    content = gzip.decompress(good.read_bytes())
    cases = {
        "magic": (b"\0\0\x09" + content[3:], "an idx file of unsigned bytes begins with 00 00 08"),
        "empty": (b"", "begins with the bytes ''"),
        "short": (content[:-3], "holds 7 values, but its header says 10"),
        "long": (content + b"1", "holds more than 10 values"),
        "header": (content[:6], "cannot be read"),
    }
    for name, (broken, words) in cases.items():
        for suffix in ("", ".gz"):
            path = tmp_path / (name + suffix)
            path.write_bytes(gzip.compress(broken) if suffix else broken)
            with pytest.raises(InputError, match=words):
                read_idx(path)
    (tmp_path / "cut.gz").write_bytes(good.read_bytes()[:-6])
    (tmp_path / "not.gz").write_bytes(b"plain")
    for name in ("cut.gz", "not.gz", "missing.gz"):
        with pytest.raises(InputError, match=f"{name}.*cannot be read"):
            read_idx(tmp_path / name)


def test_images_and_labels_must_fit(home: Path) -> None:
    folder = home / "data" / "mnist"
    write_mnist(folder)
    labels = folder / "train-labels-idx1-ubyte.gz"
    write_idx(labels, np.arange(29) % 10)
    with pytest.raises(InputError, match="30 images, but labels"):
        load_data("mnist")
    write_idx(labels, np.arange(30))
    with pytest.raises(InputError, match="it has 10 classes"):
        load_data("mnist")
    write_idx(folder / "t10k-images-idx3-ubyte.gz", np.zeros((10, 5, 5)))
    with pytest.raises(InputError, match="one height and width"):
        load_data("mnist")
    labels.unlink()
    (folder / "t10k-images-idx3-ubyte.gz").unlink()
    with pytest.raises(InputError, match=r"neither t10k-images-idx3-ubyte\.gz nor"):
        load_data("mnist")


def write_cifar10(folder: Path) -> dict[str, np.ndarray]:
    rng, arrays = np.random.default_rng(0), {}
    for part, sheets in (("train", 3), ("test", 1)):
        (folder / part).mkdir(parents=True)
        arrays[part] = rng.integers(0, 256, (sheets, 10, 32, 32, 3), dtype=np.uint8)
        for index, sheet in enumerate(arrays[part]):
            image = Image.fromarray(sheet.reshape(-1, 32, 3))
            image.save(folder / part / f"{part}_{index:03d}.webp", lossless=True)
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", np.arange(10 * sheets) % 10)
    (folder / "classes.txt").write_text("\n".join(f"class{index}" for index in range(10)))
    return arrays


def test_cifar10_sheets(home: Path) -> None:
    folder = home / "data" / "cifar10"
    arrays = write_cifar10(folder)
    data = load_data("cifar10", value_range="unit")
    assert data.shape == (3, 32, 32)
    expected = np.concatenate([arrays[part].reshape(-1, 32, 32, 3) for part in ("train", "test")]).transpose(0, 3, 1, 2)
    assert np.array_equal(data.splits["train"].values.numpy(), expected)
    assert {part: len(split) for part, split in data.splits.items()} == {"train": 27, "select": 3, "test": 10}
    assert "The folder holds 30 of the 50,000 training images." in data.notes
    sheet = folder / "train" / "train_001.webp"
    Image.new("RGB", (32, 40)).save(sheet)
    with pytest.raises(InputError, match=r"train_001\.webp.*it is 32x40"):
        load_data("cifar10")
    sheet.write_bytes(b"broken")
    with pytest.raises(InputError, match=r"train_001\.webp.*cannot be read"):
        load_data("cifar10")
    sheet.unlink()
    with pytest.raises(InputError, match="hold 20 images, but its labels are"):
        load_data("cifar10")


def test_fruits_archive(home: Path) -> None:
    (home / "data" / "fruits").mkdir(parents=True)
    with pytest.raises(InputError, match=r"has no fruits_train\.tar\.gz"):
        load_data("fruits")
    members = {
        f"{kind}/{kind}_{sort}/{n}.jpg": encoded(picture(n), "JPEG")
        for kind in ("Apple", "Tomato")
        for sort in (1, 2)
        for n in range(3)
    }
    write_tar(home / "data" / "fruits" / "fruits_train.tar.gz", members)
    data = load_data("fruits")
    assert data.name == "fruits"
    assert data.class_names == ("Apple", "Tomato")


def test_the_cache_comes_after_the_data_folder(home: Path) -> None:
    write_mnist(home / "cache" / "data" / "mnist", side=4)
    assert load_data("mnist").shape == (1, 4, 4)
    write_mnist(home / "data" / "mnist", side=6)
    assert load_data("mnist").shape == (1, 6, 6)


@pytest.mark.parametrize("name", ["mnist", "fruits"])
def test_what_is_nowhere_says_where_it_was_looked_for(home: Path, name: str) -> None:
    with pytest.raises(InputError) as raised:
        load_data(name)
    sentence = str(raised.value)
    assert "\n" not in sentence
    for place in (
        home / "data" / name,
        home / "cache" / "data" / name,
        "datasets" if name == "fruits" else "the hub at",
    ):
        assert str(place) in sentence
    assert sentence.endswith(f"set GENLOSS_DATA to the folder that has {name!r} in it.")


def test_a_hub_that_does_not_answer(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", "http://127.0.0.1:9")
    for variable in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(InputError, match=r"the hub at http://127\.0\.0\.1:9 does not answer"):
        load_data("mnist")


def test_the_datasets_library_reads_a_set(home: Path) -> None:
    """The code path of the hub, on a folder of the files that it serves."""
    features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    for part, count in (("train", 20), ("test", 6)):
        rows = {
            "img": [picture(index, (6, 4)) for index in range(count)],
            "label": [index % 2 for index in range(count)],
        }
        datasets.Dataset.from_dict(rows, features=features).to_parquet(home / "set" / f"{part}-00000-of-00001.parquet")
    hub = HubSet(str(home / "set"), image="img")
    data = load_hub("pets", hub, ImageOptions())
    assert data.shape == (3, 4, 6)
    assert data.class_names == ("cat", "dog")
    assert {part: len(split) for part, split in data.splits.items()} == {"train": 18, "select": 2, "test": 6}
    for row in (0, 7, 20, 25):
        expected = np.array(picture(row if row < 20 else row - 20, (6, 4))).transpose(2, 0, 1)
        assert np.array_equal(data.splits["train"].values[row].numpy(), expected)
    labels = data.splits["train"].labels
    assert labels is not None
    assert labels.tolist() == [index % 2 for index in [*range(20), *range(6)]]
    with pytest.raises(InputError, match="columns 'picture'"):
        load_hub("pets", HubSet(str(home / "set"), image="picture"), ImageOptions())
    (home / "none").mkdir()
    with pytest.raises(InputError, match="library says"):
        load_hub("pets", HubSet(str(home / "none")), ImageOptions())


def test_digits() -> None:
    data = load_data("digits", value_range="unit")
    assert data.shape == (1, 8, 8)
    assert sum(len(split) for split in data.splits.values()) == 1797
    levels = data.splits["train"].values.unique()
    assert len(levels) == 17
    assert (levels.min(), levels.max()) == (0, 255)
    torch.testing.assert_close(levels.float(), torch.arange(17) * 255 / 16, rtol=0, atol=0.5)


def test_every_known_name_has_a_line_and_loads_or_is_looked_for(home: Path) -> None:
    for name, line in known_datasets().items():
        assert line
        if name == "gaussian_mixture":
            assert load_data(name, means=[[0, 0, 0]], limit=5).shape == (3,)
            continue
        if name in NAMED:
            with pytest.raises(InputError, match="GENLOSS_DATA"):
                load_data(name)
        else:
            assert load_data(name, limit=5).name == name


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("mnits", {}, "Did you mean 'mnist'"),
        ("qqqq", {}, "Known: .*ring"),
        ("./nothing", {}, r"no file or folder './nothing'"),
        ("table.csv", {}, "no file or folder"),
        ("~nosuchuser/x", {}, "'~nosuchuser/x' cannot be opened: Could not determine home directory"),
        ("a\0b", {}, "cannot be opened: embedded null"),
        ("ring", {"name_or_path": "x"}, "has no option 'name_or_path'"),
        ("digits", {"count": 3}, "'count' belongs to toys"),
        ("ring", {"size": 8}, "size=8 was given, but 'ring' is a toy"),
        ("ring", {"binarise": "threshold"}, "leave binarise out"),
        ("digits", {"skip_bad": True}, "leave skip_bad out"),
    ],
)
def test_wrong_names_and_options(name: str, options: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        load_data(name, **options)


def test_unknown_format(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_bytes(b"x")
    with pytest.raises(InputError, match=r"no known format; expected .*\.csv"):
        load_data(tmp_path / "a.xlsx")


def test_an_unknown_home_in_the_environment_is_a_folder_that_is_not_there(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENLOSS_DATA", "~nosuchuser/x")
    with pytest.raises(InputError, match="there is no '~nosuchuser/x/mnist'"):
        load_data("mnist")
