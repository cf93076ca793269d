# ruff: noqa: E402 - nothing below the first lines can be imported without torch
import json
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra 'training'")
pytest.importorskip("onnxruntime", reason="the parity test needs the extra 'cpu'")
pytest.importorskip("onnxscript", reason="the ONNX exporter needs the extra 'training'")

from imaging.backends.onnx_runtime import OnnxRuntimeBackend
from imaging.errors import ModelError
from imaging.geometry import VolumeGeometry
from imaging.model import load_model
from imaging.volume import Volume
from training import export as exporting
from training.export import DeployedNetwork, check_parity, export, read_release, write_onnx
from training.held_out import HeldOutCase
from training.pairs import LabelledScan
from training.recipe import RECIPES
from training.train import train

from .tiny import tiny_pair


@pytest.fixture(scope="module")
def exported(recipe, cohort, tmp_path_factory):
    """A run of one step as (network in torch, model folder, manifest); the exporter takes seconds, so once for all."""
    run, folder = tmp_path_factory.mktemp("run"), tmp_path_factory.mktemp("models") / "prostate-ct" / "0.1.0"
    short = recipe.model_copy(update={"optimisation": recipe.optimisation.model_copy(update={"steps": 1})})
    train(short, cohort=cohort / "training", run=run, threads=1)
    pair = tiny_pair(0)
    grid = VolumeGeometry(pair.images.shape[1:], (0.0, 0.0, 0.0), (2.0, 2.0, 2.0))
    daily, planning = (LabelledScan(Volume(pair.images[n].copy(), grid), pair.labels[n]) for n in (0, 1))
    case = HeldOutCase("A-00000-1", planning, daily)
    networks = []

    def keep(deployed, file):
        networks.append(deployed)
        write_onnx(deployed, file)

    with pytest.MonkeyPatch.context() as patched, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patched.setattr(exporting, "read_cases", lambda _: iter([case]))
        patched.setattr(exporting, "aligned_pair", lambda **_: pair)
        patched.setattr(exporting, "write_onnx", keep)
        release = read_release(RECIPES / "prostate-ct.release.toml")
        manifest = export(run / "checkpoint.pt", cohort=cohort, release=release, out=folder)
    return networks[0], folder, manifest


def test_onnx_and_torch_agree_on_sizes_that_the_export_did_not_see(exported):
    network, folder, _ = exported
    file = folder / "model.onnx"
    assert check_parity(network, file, tolerance=1e-4, seed=0) < 1e-4


def test_an_export_that_differs_from_torch_is_refused(exported):
    network, folder, _ = exported
    file = folder / "model.onnx"
    other = DeployedNetwork(network.network, spacing_mm=3.0)
    with pytest.raises(ModelError, match="differs from torch"):
        check_parity(other, file, tolerance=1e-6, seed=0)


def test_the_graph_returns_probabilities_and_millimetres(exported):
    network, folder, _ = exported
    file = folder / "model.onnx"
    inputs = np.random.default_rng(0).normal(size=(3, 1, 1, 44, 48, 52)).astype(np.float32)
    probabilities, dvf = OnnxRuntimeBackend(file, cuda=False).run(*inputs)
    assert probabilities.shape == (1, 5, 4, 8, 12)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    with torch.no_grad():
        voxels = network.network(*torch.from_numpy(inputs))[0].dvf.numpy()
    np.testing.assert_allclose(dvf, 2.0 * voxels, atol=1e-4)


def test_the_graph_names_no_source_file(exported):
    _, folder, _ = exported
    content = (folder / "model.onnx").read_bytes()
    assert b".py" not in content
    assert b"stack_trace" not in content


def test_a_run_becomes_a_model_folder_that_the_service_accepts(exported, recipe):
    _, folder, manifest = exported
    assert sorted(file.name for file in folder.iterdir()) == ["golden.npz", "manifest.json", "model.onnx"]
    assert manifest.spacing_mm == recipe.spacing_mm
    assert manifest.recipe == "prostate-ct, seed 42, step 1 of 1"
    model = load_model(folder, device="cpu", cpu_backend="onnxruntime")
    assert model.self_test() < 1e-4
    assert json.loads((folder / "manifest.json").read_text())["organs"][2]["components"] == 2
