"""report.json: what was done, per ROI, with every check, its number and its limit."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

from pydantic import Field

from imaging.case import CarriedBy, Recontouring, RoiOutcome
from imaging.findings import Finding, Verdict
from imaging.structures import StructureSet
from service.schemas import RequestOptions, Schema

NOTICE = "For review: unapproved contours of a research software. A physician must check every ROI before use."
Kind = Literal["RECOMMENDED", "PROPAGATED", "SEGMENTED"]
"""Which of the three structure sets."""
ORDER = (Verdict.PASS, Verdict.REVIEW, Verdict.FAIL)


class FindingReport(Schema):
    """One check."""

    check: str
    verdict: Literal["pass", "review", "fail"]
    message: str
    value: float | None = None
    limit: float | None = None
    unit: str = ""


class RoiReport(Schema):
    """One ROI of the plan."""

    number: int
    name: str
    verdict: Annotated[Literal["pass", "review", "fail"], Field(description="The worst of its checks")]
    recommended_path: Annotated[
        Literal["propagated", "segmented"] | None, Field(description="null if the ROI came back empty")
    ]
    carried_by: Annotated[CarriedBy, Field(description="The last step that placed the propagated contour")]
    planned_cc: float
    propagated_cc: float
    segmented_cc: Annotated[float | None, Field(description="null where the network does not know the organ")]
    shift_mm: Annotated[float | None, Field(description="Centroid, recommended against planned after the affine")]
    findings: tuple[FindingReport, ...]


class ObjectReport(Schema):
    """One RTSTRUCT of the answer."""

    kind: Kind
    file: str
    bytes: int
    sha256: str
    rois: int


class ModelReport(Schema):
    """The network that was used."""

    name: str
    version: str
    provider: str


class Report(Schema):
    """The whole report. All but `stages_s` is the same for the same input, model and software."""

    notice: str = NOTICE
    approval_status: Literal["UNAPPROVED"] = "UNAPPROVED"
    software_version: str
    model: Annotated[ModelReport | None, Field(description="null where no network was used")]
    options: RequestOptions
    verdict: Annotated[Literal["pass", "review", "fail"], Field(description="The worst of all checks")]
    affine: Annotated[
        tuple[tuple[float, ...], ...],
        Field(description="4 x 4, row by row: planning point = affine * daily point, LPS millimetres"),
    ]
    rois: tuple[RoiReport, ...]
    findings: Annotated[tuple[FindingReport, ...], Field(description="Checks of the whole case")]
    objects: tuple[ObjectReport, ...]
    stages_s: Annotated[dict[str, float], Field(description="Seconds per stage, as in Server-Timing")]


def build_report(
    outcome: Recontouring,
    *,
    planned: StructureSet,
    notices: Iterable[Finding],
    objects: Mapping[Kind, bytes],
    structures: Mapping[Kind, StructureSet],
    options: RequestOptions,
    model: ModelReport | None,
    software_version: str,
    stages_s: Mapping[str, float],
) -> Report:
    """Gather what the core found and what was written.

    Args:
        outcome: The core's answer.
        planned: The plan's ROIs, for their names.
        notices: What was corrected on reading, and the patient check.
        objects: RTSTRUCT bytes per kind.
        structures: The structure set behind each kind.
        options: As requested.
        model: The network in use, if the case used it.
        software_version: Of this distribution.
        stages_s: Seconds per stage.
    """
    findings = (*notices, *outcome.findings)
    known = {roi.number for roi in outcome.rois}
    return Report(
        software_version=software_version,
        model=model,
        options=options,
        verdict=worst(findings).value,
        affine=tuple(tuple(row) for row in outcome.deformation.affine.matrix.tolist()),
        rois=tuple(_roi_report(roi, planned.by_number(roi.number).name, findings) for roi in outcome.rois),
        findings=tuple(_finding_report(f) for f in findings if f.roi_number not in known),
        objects=tuple(
            ObjectReport(
                kind=kind,
                file=f"{kind}.dcm",
                bytes=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
                rois=len(structures[kind].rois),
            )
            for kind, content in objects.items()
        ),
        stages_s={name: round(seconds, 6) for name, seconds in stages_s.items()},
    )


def worst(findings: Iterable[Finding]) -> Verdict:
    """The gravest verdict; pass if there is none."""
    return max((finding.verdict for finding in findings), key=ORDER.index, default=Verdict.PASS)


def _roi_report(roi: RoiOutcome, name: str, findings: Iterable[Finding]) -> RoiReport:
    own = [finding for finding in findings if finding.roi_number == roi.number]
    return RoiReport(
        number=roi.number,
        name=name,
        verdict=worst(own).value,
        recommended_path=roi.recommended_path,
        carried_by=roi.carried_by,
        planned_cc=round(roi.planned_cc, 3),
        propagated_cc=round(roi.propagated_cc, 3),
        segmented_cc=None if roi.segmented_cc is None else round(roi.segmented_cc, 3),
        shift_mm=None if roi.shift_mm is None else round(roi.shift_mm, 3),
        findings=tuple(_finding_report(finding) for finding in own),
    )


def _finding_report(finding: Finding) -> FindingReport:
    return FindingReport(
        check=finding.check,
        verdict=finding.verdict.value,
        message=finding.message,
        value=finding.value,
        limit=finding.limit,
        unit=finding.unit,
    )
