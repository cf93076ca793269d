# ruff: noqa: E402 - nothing below the first lines can be imported without torch
import argparse
import json

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra 'training'")

from training.recipe import RECIPES, read_recipe
from training.train_command import add_arguments, run

from .test_dataset import TRAINED, write


def test_nothing_is_learned_from_an_array_that_changed_on_the_disk(tmp_path):
    folder = write(tmp_path / "data")
    facts = json.loads((folder / "dataset.json").read_text())
    facts["organs"] = read_recipe(RECIPES / "prostate-ct.toml").organs
    (folder / "dataset.json").write_text(json.dumps(facts))
    images = folder / "pairs" / f"{TRAINED}-01" / "images.npy"
    content = bytearray(images.read_bytes())
    content[-1] ^= 1
    images.write_bytes(content)
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    with pytest.raises(SystemExit, match="the arrays of pair"):
        run(parser.parse_args(["--dataset", str(folder), "--run", str(tmp_path / "run")]))
    assert not (tmp_path / "run").exists()
