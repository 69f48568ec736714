"""Samples in a table: the names of the columns come back as they were."""

import pytest

from genloss.data import load_data
from genloss.runs.execute import train_run
from genloss.runs.recipes import read_recipe
from genloss.runs.sampling import sample_run
from tests.runs.tiny_data import TINY_RUN


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
