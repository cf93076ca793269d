"""The clinical core behind the routes: choosing the model, bringing it up, ROIs by name, a made-up case all the way."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from imaging.errors import ModelError, ModelNotFound, NotDicom, ProviderUnavailable, RoiAmbiguous, RoiUnmapped
from imaging.structures import Roi, StructureSet
from imaging.timing import Stopwatch
from recontour.client import which_object
from service import pipeline
from service.pipeline import ClinicalCore, model_folder, roi_numbers
from service.settings import NO_MODEL, Settings
from service.uploads import Upload
from service.warm_up import run_made_up_case
from tests.dicom_factory import good_upload
from tests.manifests import manifest_with

PLAN = StructureSet((Roi(1, "Bladder"), Roi(2, "Rectum"), Roi(7, "PTV"), Roi(8, "PTV")))


def test_the_highest_version_is_taken_by_number_and_not_by_spelling(tmp_path: Path):
    for version in ("0.9.0", "0.10.0", "0.2.11", "draft", "1.0.0-rc1"):
        (tmp_path / "prostate-ct" / version).mkdir(parents=True)
    assert model_folder(tmp_path, "prostate-ct").name == "0.10.0"
    assert model_folder(tmp_path, "prostate-ct/0.9.0").name == "0.9.0"
    for missing in ("prostate-ct/0.9.1", "other"):
        with pytest.raises(ModelNotFound):
            model_folder(tmp_path, missing)


def test_rois_are_chosen_by_their_exact_name():
    assert roi_numbers(None, PLAN) is None
    assert roi_numbers(("Rectum", "Bladder", "Rectum"), PLAN) == (2, 1)
    with pytest.raises(RoiUnmapped):
        roi_numbers(("bladder",), PLAN)
    with pytest.raises(RoiAmbiguous):
        roi_numbers(("PTV",), PLAN)


class Loaded(SimpleNamespace):
    """Stands for a loaded model."""

    def warm_up(self) -> None:
        self.steps.append("warm_up")

    def self_test(self) -> float:
        self.steps.append("golden_case")
        if self.golden_fails:
            raise ModelError("the golden case differs by 0.5000")
        return 0.0


def brought_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, device: str, provider: str, golden_fails: bool = False
) -> tuple[list[tuple[str, bool]], Any]:
    (tmp_path / "prostate-ct" / "0.1.0").mkdir(parents=True)
    model = Loaded(provider=provider, steps=[], golden_fails=golden_fails, manifest=manifest_with())
    monkeypatch.setattr(pipeline, "load_model", lambda *_, **__: model)
    checks: list[tuple[str, bool]] = []
    core = ClinicalCore(Settings(models_dir=tmp_path, device=device))
    error: Exception | None = None
    try:
        core.bring_up(lambda name, passed, _: checks.append((name, passed)))
    except ModelError as caught:
        error = caught
    return checks, error


def test_a_node_told_to_use_cuda_is_not_ready_on_the_cpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """ONNX Runtime falls back in silence: the answer would be right and ten times late."""
    checks, error = brought_up(monkeypatch, tmp_path, device="cuda", provider="CPUExecutionProvider")
    assert checks == [("model_hash", True), ("provider", False)]
    assert isinstance(error, ProviderUnavailable)


def test_a_model_that_fails_its_golden_case_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    checks, error = brought_up(monkeypatch, tmp_path, device="auto", provider="OpenVINO CPU", golden_fails=True)
    assert checks == [("model_hash", True), ("provider", True), ("warm_up", True), ("golden_case", False)]
    assert isinstance(error, ModelError)


def test_a_model_that_passes_every_check_is_served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    checks, error = brought_up(monkeypatch, tmp_path, device="cuda", provider="CUDAExecutionProvider")
    assert checks == [("model_hash", True), ("provider", True), ("warm_up", True), ("golden_case", True)]
    assert error is None


def test_a_missing_model_fails_the_first_check(tmp_path: Path):
    with pytest.raises(ModelNotFound):
        ClinicalCore(Settings(models_dir=tmp_path)).bring_up(lambda *_: None)


def test_bytes_that_are_no_dicom_are_refused_by_the_real_core_with_their_place():
    case = good_upload()
    daily = [*case.daily[:2], b"z", *case.daily[2:]]
    upload = Upload({"planning_ct": case.planning, "planning_structures": case.structures, "daily_ct": daily})
    with pytest.raises(NotDicom) as refused:
        ClinicalCore(Settings(model=NO_MODEL)).recontour(upload, None, Stopwatch())
    assert refused.value.facts == {"object": 3, "field": "daily_ct"}
    assert which_object(refused.value.facts) == " (file 3 of daily_ct, by path)"


def test_the_made_up_case_goes_through_every_step():
    run_made_up_case(None)
