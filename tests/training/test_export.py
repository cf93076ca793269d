# ruff: noqa: E402 - nothing below the first lines can be imported without torch
import json
import warnings
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra 'training'")
onnx = pytest.importorskip("onnx", reason="the ONNX exporter needs the extra 'training'")
pytest.importorskip("onnxruntime", reason="the parity test needs the extra 'cpu'")
pytest.importorskip("onnxscript", reason="the ONNX exporter needs the extra 'training'")

from imaging.backends.onnx_runtime import OnnxRuntimeBackend
from imaging.errors import ModelError
from imaging.geometry import VolumeGeometry
from imaging.model import load_model
from imaging.transforms import AffineTransform
from imaging.volume import Volume
from training import export as exporting
from training.checkpoint import read_network
from training.dataset import HeldOutCase
from training.export import DeployedNetwork, check_parity, export, region_size, write_onnx
from training.export_command import read_release
from training.model_card import SECTIONS, card
from training.pairs import LabelledScan
from training.recipe import RECIPES
from training.train import train

from .tiny import tiny_pair, tiny_recipe, with_steps

RELEASE = RECIPES / "prostate-ct.release.toml"
SHIPPED = Path(__file__).parents[2] / "models" / "prostate-ct" / "1.0.0" / "model.onnx"


def golden_case() -> HeldOutCase:
    pair = tiny_pair(0)
    grid = VolumeGeometry(pair.images.shape[1:], (0.0, 0.0, 0.0), (5.0, 5.0, 5.0))
    daily, planning = (LabelledScan(Volume(pair.images[n].copy(), grid), pair.labels[n]) for n in (0, 1))
    return HeldOutCase("golden", "golden", planning, daily, AffineTransform.identity())


@pytest.fixture(scope="module")
def exported(recipe, pairs, tmp_path_factory):
    """A run of one step as (network in torch, run, model folder, manifest); once, because an export takes seconds."""
    run, folder = tmp_path_factory.mktemp("run"), tmp_path_factory.mktemp("models") / "prostate-ct" / "0.1.0"
    train(with_steps(recipe, 1), pairs, run=run, threads=1, quiet=True)
    networks = []

    def keep(deployed, file):
        networks.append(deployed)
        write_onnx(deployed, file)

    with pytest.MonkeyPatch.context() as patched, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patched.setattr(exporting, "write_onnx", keep)
        release = read_release(RELEASE, name="prostate-ct", version="0.1.0")
        manifest = export(run, golden=golden_case(), release=release, out=folder)
    return networks[0], run, folder, manifest


def test_onnx_and_torch_agree_on_sizes_that_the_export_did_not_see(exported):
    network, _, folder, _ = exported
    file = folder / "model.onnx"
    assert check_parity(network, file, tolerance=1e-4, seed=0) < 1e-4


def test_an_export_that_differs_from_torch_is_refused(exported):
    network, _, folder, _ = exported
    file = folder / "model.onnx"
    other = DeployedNetwork(network.network, spacing_mm=3.0)
    with pytest.raises(ModelError, match="differs from torch"):
        check_parity(other, file, tolerance=1e-6, seed=0)


def test_the_graph_returns_probabilities_and_millimetres(exported):
    network, _, folder, _ = exported
    file = folder / "model.onnx"
    inputs = np.random.default_rng(0).normal(size=(3, 1, 1, 44, 48, 52)).astype(np.float32)
    probabilities, dvf = OnnxRuntimeBackend(file, cuda=False).run(*inputs)
    assert probabilities.shape == (1, 5, 4, 8, 12)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    with torch.no_grad():
        voxels = network.network(*torch.from_numpy(inputs))[0].dvf.numpy()
    np.testing.assert_allclose(dvf, 5.0 * voxels, atol=1e-4)


def test_the_graph_names_no_source_file(exported):
    _, _, folder, _ = exported
    content = (folder / "model.onnx").read_bytes()
    assert b".py" not in content
    assert b"stack_trace" not in content


def test_the_graph_computes_nothing_from_weights_alone(exported):
    _, _, folder, _ = exported
    graph = onnx.load(folder / "model.onnx").graph
    known, alone = {weights.name for weights in graph.initializer}, []
    for node in graph.node:
        if all(not name or name in known for name in node.input):
            alone.append(node.op_type)
            known.update(node.output)
    assert alone == []


def test_neither_an_export_nor_the_shipped_network_makes_a_doubled_map(exported):
    _, _, folder, _ = exported
    for file in (folder / "model.onnx", SHIPPED):
        operators = [node.op_type for node in onnx.load(file).graph.node]
        # Two paths that enlarge twice.
        assert (operators.count("Resize"), operators.count("ConvTranspose")) == (0, 4)


def test_a_run_becomes_a_model_folder_that_the_service_accepts(exported, recipe):
    _, _, folder, manifest = exported
    assert sorted(file.name for file in folder.iterdir()) == ["golden.npz", "manifest.json", "model.onnx"]
    assert manifest.spacing_mm == recipe.spacing_mm
    assert manifest.recipe == "cross-stitch-b, seed 42, step 1 of 1"
    model = load_model(folder, device="cpu", cpu_backend="onnxruntime")
    assert model.self_test() < 1e-4
    assert json.loads((folder / "manifest.json").read_text())["organs"][2]["components"] == 2


def test_a_network_of_one_path_is_not_exported(pairs, tmp_path):
    """The service needs both; nothing must be left that looks like a model."""
    train(with_steps(tiny_recipe("segmentation-a"), 1), pairs, run=tmp_path / "run", threads=1, quiet=True)
    release = read_release(RELEASE, name="prostate-ct", version="0.1.0")
    with pytest.raises(ModelError, match="one path only"):
        export(tmp_path / "run", golden=golden_case(), release=release, out=tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_the_card_says_what_is_known_and_that_nothing_was_validated_on_patients(exported):
    _, run, _, manifest = exported
    text = card(manifest, read_network(run), read_release(RELEASE, name="a", version="1.2.3"), {}, system="")
    assert "Nothing was validated on patients" in text
    assert "1 steps of 1 patches of 48^3 voxels" in text
    for heading in ("Intended use", "Not intended", "Data", "Training", "Known failures", "Risks and monitoring"):
        assert f"### {heading}" in text


def test_every_card_has_the_sections_of_aid_rt_in_their_order(exported):
    """ESTRO Physics Workshop 2023: metadata, basic information, specifications, training, evaluation, other."""
    _, run, _, manifest = exported
    written = card(manifest, read_network(run), read_release(RELEASE, name="a", version="1.2.3"), {}, system="")
    for text in (written, SHIPPED.with_name("MODEL_CARD.md").read_text()):
        headings = [line for line in text.splitlines() if line.startswith("## ")]
        assert [heading[3:5] for heading in headings] == ["0.", "1.", "2.", "3.", "4.", "5."]
        assert headings == [f"## {section}" for section in SECTIONS]


@pytest.mark.parametrize(
    ("spacing_mm", "expected"), [(2.0, (112, 108, 96)), (1.0, (184, 176, 152)), (5.0, (72, 68, 64))]
)
def test_a_region_is_as_large_in_millimetres_on_every_grid(spacing_mm, expected):
    """144 mm are 72 voxels of 2 mm, and 20 more on each side: 112. 136 mm on 5 mm are 28, so 68."""
    assert region_size((144, 136, 112), spacing_mm) == expected
