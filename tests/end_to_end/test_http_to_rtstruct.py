"""A virtual patient through the real service: bytes over HTTP in, structure sets out."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest
from pydicom import Dataset

from imaging.timing import Stopwatch
from phantom.case import CLINIC_A, PhantomCase, make_case
from recontour.client import Answer, Client, Refused
from recontour.demo import Steps, compare, draw_case
from recontour.local_service import local_service
from recontour.offline import run_offline
from recontour.virtual_patient import CaseFolders, write_folders
from service.pipeline import ClinicalCore
from service.schemas import RequestOptions
from service.settings import NO_MODEL, Settings
from service.uploads import Upload
from service.uploads_memory import Content

WITHOUT_NETWORK = ["--model", NO_MODEL]
"""The deformation alone carries every ROI; what a model adds is judged where the model is."""


@dataclass(frozen=True, eq=False)
class Exchange:
    case: PhantomCase
    folders: CaseFolders
    client: Client
    answer: Answer
    steps: Steps


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    case = make_case(2, clinic=CLINIC_A, slices=50, in_plane=160, spacing_mm=(2.88, 2.88, 4.0))
    folders = write_folders(case, tmp_path_factory.mktemp("case"))
    with local_service(WITHOUT_NETWORK) as service, Client(service.url) as client:
        answer = send(client, folders)
        yield Exchange(case, folders, client, answer, compare(case, folders, answer))


def send(client: Client, folders: CaseFolders, **changed: Path) -> Answer:
    parts = {"planning": folders.planning, "structures": folders.structures, "daily": folders.daily} | changed
    return client.recontour(**parts)


def dataset(content: bytes) -> Dataset:
    return pydicom.dcmread(io.BytesIO(content))


def test_every_roi_of_the_plan_comes_back_under_its_number_and_name(exchange: Exchange) -> None:
    planned = {roi.number: roi.name for roi in exchange.case.planning_structures.rois}
    for kind in ("RECOMMENDED", "PROPAGATED"):
        answered = dataset(exchange.answer.objects[kind])
        assert {int(item.ROINumber): str(item.ROIName) for item in answered.StructureSetROISequence} == planned
        assert all(item.ContourSequence for item in answered.ROIContourSequence)
        assert answered.ApprovalStatus == "UNAPPROVED"


def test_the_structure_sets_belong_to_the_ct_of_the_day(exchange: Exchange) -> None:
    first = pydicom.dcmread(next(exchange.folders.daily.glob("*.dcm")), stop_before_pixels=True)
    answered = dataset(exchange.answer.objects["RECOMMENDED"])
    (frame,) = answered.ReferencedFrameOfReferenceSequence
    (series,) = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence
    assert frame.FrameOfReferenceUID == first.FrameOfReferenceUID
    assert series.SeriesInstanceUID == first.SeriesInstanceUID
    assert len(series.ContourImageSequence) == exchange.case.daily.geometry.shape[0]
    assert answered.StudyInstanceUID == first.StudyInstanceUID
    assert answered.PatientID == first.PatientID


def test_the_contours_follow_the_anatomy_of_the_day(exchange: Exchange) -> None:
    """The deformation must add to the affine alignment, and must ruin no ROI."""
    scores = {score.name: score for score in exchange.steps.scores}
    assert len(scores) == len(exchange.case.daily_structures.rois)
    for name, score in scores.items():
        affine, propagated = score.dice["affine"], score.dice["propagated"]
        assert affine is not None, name
        assert propagated is not None, name
        assert propagated >= affine - 0.02, f"{name}: {propagated:.3f} after {affine:.3f}"
    moved = ("Bladder", "Prostate", "Rectum")
    gains = [scores[name].dice["propagated"] - scores[name].dice["affine"] for name in moved]  # type: ignore[operator]
    assert sum(gains) > 0


def test_equal_requests_give_equal_bytes_over_http_and_offline(exchange: Exchange, tmp_path: Path) -> None:
    again = send(exchange.client, exchange.folders)
    assert again.objects == exchange.answer.objects
    run_offline(
        Settings(model=NO_MODEL),
        planning=exchange.folders.planning,
        structures=exchange.folders.structures,
        daily=exchange.folders.daily,
        out=tmp_path,
        options=RequestOptions(),
    )
    for kind, content in exchange.answer.objects.items():
        assert (tmp_path / f"{kind}.dcm").read_bytes() == content


def test_a_plan_that_was_staged_gives_the_bytes_of_one_that_was_sent(exchange: Exchange) -> None:
    core, folders = ClinicalCore(Settings(model=NO_MODEL)), exchange.folders
    planning = {"planning_ct": contents(folders.planning), "planning_structures": contents(folders.structures)}
    staged = core.read_plan(Upload(dict(planning)), Stopwatch())
    for options in ({}, {"rois": [exchange.case.planning_structures.rois[1].name]}):
        sent = json.dumps(options).encode()
        daily = {"daily_ct": contents(folders.daily)}
        answers = [
            core.recontour(Upload(planning | daily, sent), None, Stopwatch()),
            core.recontour(Upload(daily, sent), staged, Stopwatch()),
        ]
        assert answers[0].objects == answers[1].objects
    assert answers[0].objects != exchange.answer.objects


def contents(path: Path) -> list[Content]:
    return [file.read_bytes() for file in sorted(path.glob("CT*") if path.is_dir() else [path])]


def test_every_roi_has_a_verdict_and_every_stage_a_time(exchange: Exchange) -> None:
    assert {roi["verdict"] for roi in exchange.answer.report["rois"]} <= {"pass", "review", "fail"}
    assert all(roi["findings"] for roi in exchange.answer.report["rois"])
    assert set(exchange.answer.report["stages_s"]) <= set(exchange.answer.stages_s)
    assert all(seconds >= 0 for seconds in exchange.answer.stages_s.values())


def test_the_picture_of_the_case_is_drawn(exchange: Exchange, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the picture needs the extra 'demo'")
    draw_case(tmp_path / "contours.png", exchange.case, exchange.steps)
    assert (tmp_path / "contours.png").read_bytes().startswith(b"\x89PNG")


def test_a_plan_and_a_scan_of_two_patients_are_refused(exchange: Exchange, tmp_path: Path) -> None:
    for file in exchange.folders.daily.glob("*.dcm"):
        stranger = pydicom.dcmread(file)
        stranger.PatientID = "SOMEONE-ELSE"
        stranger.save_as(tmp_path / file.name)
    with pytest.raises(Refused) as caught:
        send(exchange.client, exchange.folders, daily=tmp_path)
    assert (caught.value.status, caught.value.code) == (422, "patient-mismatch")
    assert "SOMEONE" not in str(caught.value)


def test_a_scan_with_a_missing_slice_is_refused(exchange: Exchange, tmp_path: Path) -> None:
    files = sorted(exchange.folders.daily.glob("*.dcm"))
    for file in files[:20] + files[21:]:
        (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(Refused) as caught:
        send(exchange.client, exchange.folders, daily=tmp_path)
    assert (caught.value.status, caught.value.code) == (422, "missing-slices")
