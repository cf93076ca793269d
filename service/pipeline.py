"""One case from bytes to bytes: read, recontour, write. Used by the HTTP routes and by the offline command alike."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

from imaging.case import Case, RecontourOptions
from imaging.dicom.ct_series import read_ct_series
from imaging.dicom.objects import CtSeries
from imaging.dicom.parse import DicomObject, parse_all, results_of
from imaging.dicom.patient import check_same_patient
from imaging.dicom.provenance import Provenance
from imaging.dicom.roles import check_other_scan, check_roles, sort_roles
from imaging.dicom.structure_set_reader import read_structure_set
from imaging.dicom.structure_set_writer import write_structure_sets
from imaging.errors import (
    InputError,
    MissingObject,
    ModelNotFound,
    ProviderUnavailable,
    RecontouringError,
    RoiAmbiguous,
    RoiUnmapped,
    SeriesRole,
)
from imaging.findings import Finding
from imaging.model import RecontouringModel, load_model
from imaging.plan import sort_plan
from imaging.planned import prepare_plan
from imaging.plausibility_limits import PlausibilityLimits
from imaging.recontour import recontour
from imaging.structures import StructureSet
from imaging.timing import Stopwatch
from service.core import Answer, PassCheck, ReadPlan, ServedModel
from service.kernels import compile_kernels, kernels_are_compiled
from service.report import Kind, ModelReport, build_report
from service.schemas import RequestOptions, read_options
from service.settings import NO_MODEL, Settings
from service.uploads import OBJECT_FIELDS, Role, Upload, require_roles, unpack_upload
from service.warm_up import run_made_up_case

DISTRIBUTION = "recontour"
COMPILING = "compiling for this processor, about half a minute on two cores; `recontour warm` does it beforehand"
KINDS: tuple[Kind, ...] = ("RECOMMENDED", "PROPAGATED", "SEGMENTED")

T = TypeVar("T")


class ClinicalCore:
    """The real thing: readers, core and writers of `imaging`."""

    def __init__(self, settings: Settings, *, warm: bool = False) -> None:
        """Nothing is loaded yet.

        Args:
            settings: Model, device and limits are used.
            warm: Whether `bring_up` also runs a made-up case; of use where many cases follow.
        """
        self._settings = settings
        self._warm = warm
        self._limits = settings.limits.for_reading()
        self._plausibility = (
            PlausibilityLimits()
            if settings.plausibility_file is None
            else PlausibilityLimits.from_file(settings.plausibility_file)
        )
        self._model: RecontouringModel | None = None
        self._version = version(DISTRIBUTION)

    def bring_up(self, passed: PassCheck) -> ServedModel | None:
        """Hash, provider, warm-up, golden case, in this order; without a network the warm-up alone.

        Raises:
            RecontouringError: With the first check that fails.
        """
        if self._settings.model == NO_MODEL:
            _step("warm_up", passed, lambda: self._warm_up(None, passed))
            return None
        folder = model_folder(self._settings.models_dir, self._settings.model)
        model = _step("model_hash", passed, lambda: self._load(folder))
        _step("provider", passed, lambda: _check_provider(model, self._settings.device))
        _step("warm_up", passed, lambda: self._warm_up(model, passed))
        _step("golden_case", passed, model.self_test)
        self._model = model
        card = folder / "MODEL_CARD.md"
        return ServedModel(model.manifest, model.provider, card.read_text() if card.is_file() else "")

    def read_plan(self, upload: Upload, stopwatch: Stopwatch) -> ReadPlan:
        """Raises InputError as the readers do, Refusal for a broken zip."""
        with stopwatch.stage("receive"):
            opened = unpack_upload(upload, limits=self._settings.limits)
        with stopwatch.stage("parse"):
            objects = [self._parse(opened, role) for role in ("planning_ct", "planning_structures", "unsorted")]
            images = [*objects[0], *(item for item in objects[2] if not item.is_structure_set)]
            structures = [*objects[1], *(item for item in objects[2] if item.is_structure_set)]
            if len(structures) != 1 or not structures[0].is_structure_set:
                raise MissingObject(f"{len(structures)} RTSTRUCTs were sent; a plan has exactly one")
        plan = self._read_plan(images, structures[0], stopwatch)
        with stopwatch.stage("rasterize"):
            sorted_plan = sort_plan(plan.structures.structures, self._model.manifest if self._model else None, None)
            return replace(plan, prepared=prepare_plan(sorted_plan, plan.ct.volume))

    def recontour(self, upload: Upload, plan: ReadPlan | None, stopwatch: Stopwatch) -> Answer:
        """Raises RecontouringError or Refusal where the case cannot be answered."""
        with stopwatch.stage("receive"):
            opened = unpack_upload(upload, limits=self._settings.limits)
            options = read_options(opened.options)
            require_roles(opened, plan_staged=plan is not None)
        if plan is not None:
            with stopwatch.stage("parse"):
                daily_objects = self._parse(opened, "daily_ct")
        else:
            with stopwatch.stage("parse"):
                images, structures, daily_objects = self._sort(opened)
            plan = self._read_plan(images, structures, stopwatch)
            del images
        with stopwatch.stage("parse"):
            daily = read_ct_series(daily_objects, role="daily CT", limits=self._limits)
            del daily_objects
            if daily.series_instance_uid == plan.ct.series_instance_uid:
                raise SeriesRole("planning and daily CT are the same series; send the CT of the day as daily CT")
            notices = check_same_patient(plan.ct, plan.structures, daily) + check_other_scan(plan.ct, daily)
        return self._answer(plan, daily, notices, options, stopwatch)

    def _sort(self, opened: Upload) -> tuple[list[DicomObject], DicomObject, list[DicomObject]]:
        if opened.of("unsorted"):
            return sort_roles(self._parse(opened, "unsorted"))
        planning, structures, daily = (self._parse(opened, role) for role in OBJECT_FIELDS)
        return check_roles(planning, structures, daily)

    def _warm_up(self, model: RecontouringModel | None, passed: PassCheck) -> None:
        if model is not None:
            model.warm_up()
        if self._warm:
            if not kernels_are_compiled():
                passed("warm_up", None, COMPILING)
                compile_kernels()
            run_made_up_case(model)

    def _load(self, folder: Path) -> RecontouringModel:
        return load_model(
            folder,
            device=self._settings.device,
            cpu_backend=self._settings.cpu_backend,
            threads=self._settings.threads,
            refinement_device=self._settings.refinement_device,
        )

    def _parse(self, upload: Upload, role: Role) -> list[DicomObject]:
        objects, begun = upload.objects.pop(role, []), upload.parsed.pop(role, None)
        try:
            return parse_all(objects, limits=self._limits) if begun is None else results_of(begun)
        except InputError as error:
            error.facts["field"] = role
            raise

    def _read_plan(self, images: list[DicomObject], structures: DicomObject, stopwatch: Stopwatch) -> ReadPlan:
        with stopwatch.stage("parse"):
            ct = read_ct_series(images, role="planning CT", limits=self._limits)
        with stopwatch.stage("read_structures"):
            return ReadPlan(ct, read_structure_set(structures, ct, limits=self._limits))

    def _answer(
        self,
        plan: ReadPlan,
        daily: CtSeries,
        notices: tuple[Finding, ...],
        options: RequestOptions,
        stopwatch: Stopwatch,
    ) -> Answer:
        planned = plan.structures.structures
        outcome = recontour(
            Case(plan.ct.volume, planned, daily.volume, plan.prepared if options.rois is None else None),
            self._model,
            limits=self._plausibility,
            options=RecontourOptions(refine=options.refine, rois=roi_numbers(options.rois, planned)),
            stopwatch=stopwatch,
        )
        structures = dict(zip(KINDS, (outcome.recommended, outcome.propagated, outcome.segmented), strict=True))
        if not outcome.segmented.rois:
            del structures["SEGMENTED"]
        with stopwatch.stage("write"):
            provenance = self._provenance(plan, daily, options, used_model=bool(outcome.model_identity))
            objects = write_structure_sets(
                structures, daily=daily, plan=plan.structures, provenance=provenance, holes=options.holes
            )
        notices = (*plan.ct.notices, *plan.structures.notices, *daily.notices, *notices)
        report = build_report(
            outcome,
            planned=planned,
            notices=notices,
            objects=objects,
            structures=structures,
            options=options,
            model=self._model_report() if outcome.model_identity else None,
            software_version=self._version,
            stages_s=stopwatch.seconds,
        )
        return Answer(objects, report, (*notices, *outcome.findings))

    def _model_report(self) -> ModelReport | None:
        if self._model is None:
            return None
        manifest = self._model.manifest
        return ModelReport(name=manifest.name, version=manifest.version, provider=self._model.provider)

    def _provenance(self, plan: ReadPlan, daily: CtSeries, options: RequestOptions, *, used_model: bool) -> Provenance:
        inputs = hashlib.sha256(f"{plan.digest} {daily.digest}".encode()).hexdigest()
        chosen = hashlib.sha256(options.model_dump_json().encode()).hexdigest()
        if self._model is None or not used_model:
            return Provenance(self._version, options_digest=chosen, inputs_digest=inputs)
        manifest = self._model.manifest
        return Provenance(
            self._version,
            model_name=manifest.name,
            model_version=manifest.version,
            model_device_uid=manifest.device_uid,
            model_sha256=manifest.sha256,
            options_digest=chosen,
            inputs_digest=inputs,
        )


def model_folder(models_dir: Path, model: str) -> Path:
    """The folder of 'name/version', or of the highest version of 'name'.

    Raises:
        ModelNotFound: If there is none.
    """
    name, _, wanted = model.partition("/")
    folders = {folder.name: folder for folder in (models_dir / name).glob("*.*.*") if folder.is_dir()}
    numbered = {
        tuple(int(part) for part in label.split(".")): folder
        for label, folder in folders.items()
        if all(part.isdigit() for part in label.split(".")) and wanted in ("", label)
    }
    if not numbered:
        raise ModelNotFound("the models directory holds no such model; check RECONTOUR_MODELS_DIR and RECONTOUR_MODEL")
    return numbered[max(numbered)]


def roi_numbers(names: tuple[str, ...] | None, planned: StructureSet) -> tuple[int, ...] | None:
    """The numbers of ROIs asked for by name, spelt exactly as in the plan.

    Raises:
        RoiUnmapped: If the plan has no ROI of a name.
        RoiAmbiguous: If it has two.
    """
    if names is None:
        return None
    numbers = []
    for position, name in enumerate(names):
        found = [roi.number for roi in planned.rois if roi.name == name]
        if not found:
            raise RoiUnmapped(f"entry {position} of 'rois' is no ROI of the plan; check its spelling", entry=position)
        if len(found) > 1:
            raise RoiAmbiguous(f"entry {position} of 'rois' names {len(found)} ROIs of the plan", entry=position)
        numbers.append(found[0])
    return tuple(dict.fromkeys(numbers))


def _check_provider(model: RecontouringModel, device: str) -> None:
    if device == "cuda" and "CUDA" not in model.provider:
        raise ProviderUnavailable("the settings ask for CUDA but the network does not run on it; check the driver")


def _step(name: str, passed: PassCheck, act: Callable[[], T]) -> T:
    try:
        result = act()
    except RecontouringError as error:
        # A missing accelerator is found while the model is being loaded, but it is not the hash that failed.
        passed("provider" if isinstance(error, ProviderUnavailable) else name, False, error.message)
        raise
    passed(name, True, "")
    return result
