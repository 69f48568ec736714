"""Samples of a run in files: columns as they were, without the data, never of spoilt weights."""

import shutil

import numpy as np
import pytest
import safetensors.torch

from genloss.data import load_data
from genloss.errors import InputError, WorkError
from genloss.runs.execute import train_run
from genloss.runs.recipes import read_recipe
from genloss.runs.sampling import evaluate_run, sample_run
from tests.runs.tiny_data import TINY_RUN, write_photos


@pytest.mark.parametrize("names", ['a,"b,x",c', '"a\nb",c,"d ""e"""', '"#a",b,c', "ä, b,c"])
def test_the_columns_of_sampled_rows_are_those_of_the_data(tmp_path, names):
    table = tmp_path / "table.csv"
    table.write_text(names + "\n" + "".join(f"{n},{n * n % 7},{n % 3}\n" for n in range(30)), encoding="utf-8")
    changes = [*TINY_RUN, f"data.path={table}", f"runs_dir={tmp_path / 'runs'}"]
    run = train_run(read_recipe("ring_gan", [change for change in changes if change != "data=digits"])[0]).folder
    samples = sample_run(run, 7, tmp_path / "samples.csv")
    first, second = load_data(table).standardisation, load_data(samples).standardisation
    assert second.columns == first.columns
    assert sum(len(part) for part in load_data(samples).splits.values()) == 7


@pytest.mark.parametrize("recipe", ["ring_gan", "digits_vae"])
@pytest.mark.parametrize("kind", ["table", "photos"])
def test_a_run_is_sampled_where_its_data_are_not(tmp_path, recipe, kind):
    data = tmp_path / "data"
    if kind == "photos":
        write_photos(data, 40)
    else:
        data.mkdir()
        (data / "t.csv").write_text("a,b\n" + "".join(f"{i % 7 + 100},{i * i % 11 / 1000}\n" for i in range(120)))
    overrides = [entry for entry in TINY_RUN if entry != "data=digits"]
    source = data if kind == "photos" else data / "t.csv"
    run = train_run(read_recipe(recipe, [*overrides, f"data.path={source}", f"runs_dir={tmp_path}"])[0]).folder
    endings = (".png", ".npz", ".csv")
    for ending in endings:
        sample_run(run, 4, tmp_path / f"before{ending}")
    shutil.rmtree(data)
    for ending in endings:
        sample_run(run, 4, tmp_path / f"after{ending}")
        assert (tmp_path / f"after{ending}").read_bytes() == (tmp_path / f"before{ending}").read_bytes()
    with pytest.raises(InputError, match=r"does not exist|There is no"):
        evaluate_run(run)


def test_a_picture_of_spoilt_weights_is_not_drawn(tmp_path):
    run = train_run(read_recipe("digits_gan", [*TINY_RUN, f"runs_dir={tmp_path}"])[0]).folder
    weights = run / "checkpoints" / "last" / "weights.safetensors"
    spoilt = {
        name: tensor * float("nan") if tensor.is_floating_point() else tensor
        for name, tensor in safetensors.torch.load_file(weights).items()
    }
    safetensors.torch.save_file(spoilt, weights, {"turn": "2"})
    with pytest.raises(WorkError, match=r"not finite.*--checkpoint"):
        sample_run(run, 4, tmp_path / "out.png", which="last")
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize("ending", [".csv", ".npz"])
def test_a_column_keeps_its_spread_however_far_from_zero(tmp_path, ending):
    values = np.random.default_rng(0).normal(size=(200, 3)) * [50.0, 1e-4, 1e40] + [1.7e9, 52.5, 5e44]
    np.save(tmp_path / "table.npy", values)
    changes = [change for change in TINY_RUN if change != "data=digits"]
    changes += [f"data.path={tmp_path / 'table.npy'}", f"runs_dir={tmp_path}"]
    run = train_run(read_recipe("ring_gan", changes)[0]).folder
    path = sample_run(run, 500, tmp_path / f"samples{ending}")
    if ending == ".npz":
        found = np.load(path)["samples"]
    else:
        rows = [line for line in path.read_text().splitlines() if line[0] not in '#"']
        found = np.loadtxt(rows, delimiter=",")
    standard = (found - values.mean(0)) / values.std(0)
    assert np.isfinite(standard).all()
    for column in standard.T:
        assert len(np.unique(column.round(5))) > 100
