"""A model is used only if its files are the released ones and it still says what it said when it was released."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from imaging.errors import ModelError, ModelNotFound, ProviderUnavailable
from imaging.geometry import VolumeGeometry
from imaging.model import RecontouringModel, load_manifest, load_model
from imaging.preprocessing import ModelInputs
from tests.manifests import manifest_fields, manifest_with

SIDE = 48
Answer = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class FixedBackend:
    """Answers the same whatever it is asked."""

    answer: Answer
    provider: str = "test"

    def run(self, *_: np.ndarray) -> Answer:
        return self.answer


def golden_answer() -> Answer:
    """Bladder and rectum as boxes of 64 of the 512 output voxels each, everywhere certain; a field of 3 mm along x."""
    probabilities = np.zeros((1, 3, 8, 8, 8), np.float32)
    probabilities[:, 1, :4, :4, :4] = 1
    probabilities[:, 2, 4:, 4:, 4:] = 1
    probabilities[:, 0] = 1 - probabilities[:, 1:].sum(axis=1)
    dvf = np.zeros((1, 3, 8, 8, 8), np.float32)
    dvf[:, 0] = 3
    return probabilities, dvf


def model_that_answers(answer: Answer, folder: Path) -> RecontouringModel:
    image = np.zeros((1, 1, SIDE, SIDE, SIDE), np.float32)
    segmentation, dvf = golden_answer()
    file = folder / "golden.npz"
    np.savez(file, fixed=image, moving=image, moving_labels=image, segmentation=segmentation, dvf=dvf)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return RecontouringModel(manifest_with(golden_sha256=digest), folder, FixedBackend(answer))


def test_a_model_that_answers_as_released_passes(tmp_path: Path) -> None:
    assert model_that_answers(golden_answer(), tmp_path).self_test() == 0.0


def swapped(answer: Answer) -> Answer:
    return answer[0][:, [0, 2, 1]], answer[1]


def all_background(answer: Answer) -> Answer:
    empty = np.zeros_like(answer[0])
    empty[:, 0] = 1
    return empty, answer[1]


def field_reversed(answer: Answer) -> Answer:
    return answer[0], -answer[1]


def slightly_smaller_bladder(answer: Answer) -> Answer:
    """4 of 512 voxels, below one per cent, change: the Dice of the bladder falls to 2 * 60 / (60 + 64) = 0.968."""
    probabilities = answer[0].copy()
    probabilities[0, :, 3, 3, :4] = np.array([[1.0], [0.0], [0.0]])
    return probabilities, answer[1]


@pytest.mark.parametrize("damage", [swapped, all_background, field_reversed, slightly_smaller_bladder])
def test_a_model_that_answers_otherwise_is_refused(damage: Callable[[Answer], Answer], tmp_path: Path) -> None:
    """Hazard: an installation that computes something else, silently."""
    with pytest.raises(ModelError, match="do not use this installation"):
        model_that_answers(damage(golden_answer()), tmp_path).self_test()


def test_a_changed_golden_case_is_refused(tmp_path: Path) -> None:
    model = model_that_answers(golden_answer(), tmp_path)
    with (tmp_path / "golden.npz").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ModelError, match="install the model again"):
        model.self_test()


def inputs() -> ModelInputs:
    image = np.zeros((1, 1, SIDE, SIDE, SIDE), np.float32)
    return ModelInputs(image, image, image, VolumeGeometry((SIDE,) * 3, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))


def test_an_answer_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    probabilities, dvf = golden_answer()
    dvf[0, 0, 0, 0, 0] = np.nan
    with pytest.raises(ModelError, match="not finite"):
        model_that_answers((probabilities, dvf), tmp_path).run(inputs())


def test_an_answer_of_another_shape_is_refused(tmp_path: Path) -> None:
    probabilities, dvf = golden_answer()
    with pytest.raises(ModelError, match="expected"):
        model_that_answers((probabilities[:, :2], dvf), tmp_path).run(inputs())


def test_the_output_grid_lies_inside_the_region_by_the_margin(tmp_path: Path) -> None:
    prediction = model_that_answers(golden_answer(), tmp_path).run(inputs())
    assert prediction.geometry.shape == (8, 8, 8)
    assert prediction.geometry.origin_mm == (20.0, 20.0, 20.0)


def test_a_folder_without_a_manifest_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="check the models directory"):
        load_model(tmp_path)


def test_a_manifest_that_is_not_valid_says_where(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps(manifest_fields() | {"spacing_mm": -1}))
    with pytest.raises(ModelError, match="spacing_mm"):
        load_manifest(tmp_path)


def test_a_network_that_is_not_the_released_one_is_not_loaded(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps(manifest_fields()))
    (tmp_path / "model.onnx").write_bytes(b"something else")
    with pytest.raises(ModelError, match="install the model again"):
        load_model(tmp_path)


SHIPPED = sorted((Path(__file__).parents[2] / "models").glob("*/*/"))


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_every_shipped_model_passes_its_own_test_on_both_runtimes(folder: Path, runtime: str) -> None:
    pytest.importorskip(runtime)
    model = load_model(folder, device="cpu", cpu_backend=runtime)
    assert model.manifest.golden_tolerance <= 0.1, "more than bfloat16 needs, in millimetres"
    model.self_test()
    with np.load(folder / "golden.npz") as golden:
        inputs = (golden[name].astype(np.float32) for name in ("fixed", "moving", "moving_labels"))
        probabilities, _ = model.backend.run(*inputs)
        assert np.percentile(np.abs(probabilities - golden["segmentation"]), 99) <= 0.05


def test_at_least_one_model_is_shipped() -> None:
    assert SHIPPED


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_node_that_must_use_cuda_and_has_none_is_refused() -> None:
    """Hazard: ONNX Runtime falls back to the CPU in silence."""
    onnxruntime = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this environment has the CUDA provider")
    with pytest.raises(ProviderUnavailable, match="CUDA"):
        load_model(SHIPPED[0], device="cuda")
