# ruff: noqa: E402 - nothing below the first lines can be imported without torch
import argparse
from pathlib import Path
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra 'training'")
pytest.importorskip("onnx", reason="the export needs the extra 'training'")

from imaging.errors import ModelError
from imaging.model import load_manifest
from training import export_command
from training.checkpoint import RunState, Stage, save_network
from training.dataset import Facts, hash_of, write_dataset
from training.export_command import (
    PLACEHOLDER,
    TEMPLATE,
    VIRTUAL_RELEASE,
    add_arguments,
    plan_export,
    read_release,
    run,
)
from training.model_card import card
from training.networks.build import build_network

from .tiny import tiny_recipe

LEARNED, TRAINING, TESTED = "0000000c", {"0000000c-1": "2" * 64}, {"0000000b-1": "1" * 64}
COHORT = hash_of(TRAINING)
MODEL = Path(__file__).parents[2] / "models" / "prostate-ct" / "1.0.0"


@pytest.fixture
def folders(tmp_path):
    """A run of all its steps, the dataset of virtual patients of its training, and where the model shall go."""
    write_run(tmp_path / "run", steps=4)
    data(tmp_path / "data", virtual=True)
    return SimpleNamespace(run=tmp_path / "run", data=tmp_path / "data", model=tmp_path / "models" / "name" / "1.2.3")


def write_run(folder, *, steps, patients=(LEARNED,), cohort_hash=COHORT):
    recipe = tiny_recipe()
    stage = Stage(0, "commit", 1, cohort_hash, recipe.model_dump_json(), patients=patients)
    state = RunState(SimpleNamespace(recipe=recipe), average={}, step=steps, stages=(stage,))
    folder.mkdir(exist_ok=True)
    save_network(state, build_network(recipe.network, recipe.classes), folder)


def data(folder, *, virtual):
    folder.mkdir(exist_ok=True)
    split = {"training": (LEARNED,), "validation": (), "test": ("0000000b",)}
    pairs = TRAINING | TESTED
    facts = Facts(
        spacing_mm=5.0,
        organs=tiny_recipe().organs,
        seed=1,
        virtual=virtual,
        sha256=hash_of(pairs),
        split=split,
        pairs=pairs,
    )
    write_dataset(facts, folder)


@pytest.fixture
def written(monkeypatch):
    """What an export would write takes seconds: here it is one file with the words of the release."""

    def write(folder, plan, **_):
        folder.mkdir()
        (folder / "manifest.json").write_text(plan.release.data)
        return "name 1.2.3"

    monkeypatch.setattr(export_command, "export_into", write)


def export(folders, *more):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    run(parser.parse_args([str(folders.run), str(folders.model), "--dataset", str(folders.data), *more]))


def refused(folders, message, *more):
    with pytest.raises(SystemExit, match=message) as stopped:
        export(folders, *more)
    assert "\n" not in str(stopped.value)
    return not folders.model.parent.exists() or not list(folders.model.parent.iterdir())


def filled_in(tmp_path):
    """The template as a hospital would fill it in."""
    file = tmp_path / "ours.toml"
    file.write_text(TEMPLATE.read_text().replace(PLACEHOLDER, "Ours"))
    return file


@pytest.mark.usefixtures("written")
def test_virtual_patients_need_no_release_file(folders, capsys):
    export(folders)
    assert "Virtual patients" in (folders.model / "manifest.json").read_text()
    assert [file.name for file in folders.model.parent.iterdir()] == ["1.2.3"]
    assert capsys.readouterr().out == f"name 1.2.3: {folders.model}\n"


@pytest.mark.usefixtures("written")
def test_patients_are_never_called_virtual(folders, tmp_path):
    data(folders.data, virtual=False)
    assert refused(folders, "says that all patients were virtual")
    assert refused(folders, "says that all patients were virtual", "--release", str(VIRTUAL_RELEASE))
    export(folders, "--release", str(filled_in(tmp_path)))
    assert "Ours" in (folders.model / "manifest.json").read_text()


def test_the_template_is_refused_until_it_is_filled_in(tmp_path):
    with pytest.raises(ValueError, match="FILL IN in intended_use, not_intended, data, limits"):
        read_release(TEMPLATE, name="name", version="1.2.3")
    ours, shipped = (
        read_release(file, name="name", version="1.2.3") for file in (filled_in(tmp_path), VIRTUAL_RELEASE)
    )
    assert ours.organs == shipped.organs
    assert ours.region_mm == shipped.region_mm


@pytest.mark.usefixtures("written")
def test_a_version_is_replaced_only_on_demand(folders):
    folders.model.mkdir(parents=True)
    (folders.model / "earlier").touch()
    refused(folders, "is there already")
    assert (folders.model / "earlier").exists()
    export(folders, "--replace")
    assert [file.name for file in folders.model.iterdir()] == ["manifest.json"]


@pytest.mark.usefixtures("written")
def test_a_run_that_was_stopped_leaves_on_demand_only(folders):
    write_run(folders.run, steps=3)
    assert refused(folders, "unfinished, step 3 of 4")
    export(folders, "--unfinished")
    assert folders.model.exists()


@pytest.mark.usefixtures("written")
@pytest.mark.parametrize(
    ("patients", "message"),
    [(("0000000b",), "learned from 1 of the 1 test patients"), ((), "does not say from whom it learned")],
)
def test_a_network_that_saw_its_test_patients_is_not_exported(folders, patients, message):
    write_run(folders.run, steps=4, patients=patients, cohort_hash="f" * 64)
    assert refused(folders, message)


def test_what_nobody_can_check_goes_to_the_card(folders, tmp_path):
    write_run(folders.run, steps=4, patients=("0000000d",), cohort_hash="f" * 64)
    plan = plan_export(folders.run, [folders.data], release=None, out=folders.model)
    (remark,) = plan.remarks
    assert remark.startswith("The network learned from another dataset.")
    manifest = load_manifest(MODEL)
    assert remark in card(manifest, plan.trained, plan.release, {}, system="", remarks=plan.remarks)


@pytest.mark.parametrize("broken", ["run", "data", "release"])
def test_what_cannot_be_read_leaves_no_model(folders, tmp_path, broken):
    nowhere = tmp_path / "nowhere"
    if broken == "release":
        assert refused(folders, "No such file", "--release", str(nowhere))
    else:
        setattr(folders, broken, nowhere)
        assert refused(folders, "no finished dataset" if broken == "data" else "no network.pt")


def test_an_export_that_fails_half_way_leaves_no_model(folders, monkeypatch):
    def fail(folder, plan, **_):
        folder.mkdir()
        (folder / "model.onnx").touch()
        raise ModelError("differs")

    monkeypatch.setattr(export_command, "export_into", fail)
    assert refused(folders, "differs")
