"""Which objects are planning CT, structure set and daily CT: as the references say, or as the sender does."""

from collections.abc import Sequence

import numpy as np

from imaging.dicom import tags
from imaging.dicom.attributes import raw_value, typed_errors
from imaging.dicom.objects import CtSeries
from imaging.dicom.parse import DicomObject
from imaging.dicom.references import referenced_images, referenced_series
from imaging.dicom.slices import refuse_localizers
from imaging.errors import MissingObject, MixedSeries, SeriesRole, UnsupportedObject
from imaging.findings import Finding, Verdict

Roles = tuple[list[DicomObject], DicomObject, list[DicomObject]]


def sort_roles(objects: Sequence[DicomObject]) -> Roles:
    """Sort objects into (planning images, structure set, daily images).

    The series that the structure set references is the planning CT; the one other CT series is the daily CT.

    Raises:
        MissingObject: If a role has no object.
        SeriesRole: If the structure set references no series that was sent, or both.
        MixedSeries: If there are more than two CT series.
    """
    structure = _only_structure_set([one for one in objects if one.is_structure_set])
    refuse_localizers([one for one in objects if one.is_ct], "the upload")
    series: dict[bytes, list[DicomObject]] = {}
    for one in objects:
        if one.is_ct:
            series.setdefault(_series_of(one), []).append(one)
    if len(series) < 2:
        missing = "no CT series" if not series else "one CT series"
        raise MissingObject(f"{missing} and an RTSTRUCT were sent; send planning CT, RTSTRUCT and daily CT")
    referenced = [key for key, images in series.items() if _references(structure, images)]
    if len(referenced) != 1:
        raise SeriesRole(
            f"the RTSTRUCT references {len(referenced)} of the {len(series)} CT series that were sent; "
            "send the CT that it was drawn on and one daily CT",
            referenced=len(referenced),
            series=len(series),
        )
    if len(series) > 2:
        raise MixedSeries(
            f"{len(series)} CT series were sent; send the planning CT and one daily CT", series=len(series)
        )
    planning = referenced[0]
    (daily,) = (key for key in series if key != planning)
    return series[planning], structure, series[daily]


def check_roles(
    planning: Sequence[DicomObject], structures: Sequence[DicomObject], daily: Sequence[DicomObject]
) -> Roles:
    """Check objects that came with their roles stated; the same answer as `sort_roles`.

    Raises:
        MissingObject: If a role has no object.
        UnsupportedObject: If a role holds another kind of object.
        MixedSeries: If a role holds more than one series.
        SeriesRole: If planning and daily CT are one series, or the structure set was drawn on the daily CT.
    """
    for images, role in ((planning, "planning CT"), (daily, "daily CT")):
        if not images:
            raise MissingObject(f"the {role} has no image; send its series")
        if not all(one.is_ct for one in images):
            raise UnsupportedObject(f"the {role} holds something that is no CT image; send CT images only")
        refuse_localizers(images, f"the {role}")
    if not all(one.is_structure_set for one in structures):
        raise UnsupportedObject("the planning structures are no RTSTRUCT; send the RTSTRUCT of the planning CT")
    structure = _only_structure_set(structures)
    both = {_series_of(one) for one in planning} & {_series_of(one) for one in daily}
    if both:
        raise SeriesRole("planning and daily CT are the same series; send the CT of the day as daily CT")
    for images, role in ((planning, "planning CT"), (daily, "daily CT")):
        count = len({_series_of(one) for one in images})
        if count > 1:
            raise MixedSeries(f"the images of the {role} belong to {count} series; send one series", count=count)
    if _references(structure, daily) and not _references(structure, planning):
        raise SeriesRole("the RTSTRUCT was drawn on the daily CT; planning and daily CT may be swapped")
    return list(planning), structure, list(daily)


def _only_structure_set(structures: Sequence[DicomObject]) -> DicomObject:
    distinct = {one.sha256: one for one in structures}
    if not distinct:
        raise MissingObject("no RTSTRUCT was sent; send the RTSTRUCT of the planning CT")
    if len(distinct) > 1:
        raise SeriesRole(f"{len(distinct)} RTSTRUCTs were sent; send the one of the plan", count=len(distinct))
    return next(iter(distinct.values()))


def _series_of(image: DicomObject) -> bytes:
    return raw_value(image.dataset, tags.SERIES_INSTANCE_UID).rstrip(b"\0 ")


def _references(structure: DicomObject, images: Sequence[DicomObject]) -> bool:
    with typed_errors("the structure set"):
        series = referenced_series(structure.dataset)
        if series:
            return _series_of(images[0]).decode("ascii", "replace") in series
        named = referenced_images(structure.dataset)
    return any(
        raw_value(one.dataset, tags.SOP_INSTANCE_UID).rstrip(b"\0 ").decode("ascii", "replace") in named
        for one in images
    )


def check_other_scan(planning: CtSeries, daily: CtSeries) -> tuple[Finding, ...]:
    """A daily CT that has the planning CT's very voxels is that CT under other UIDs: a scan never repeats its noise."""
    ours, theirs = daily.volume.hu, planning.volume.hu
    middle = ours.shape[0] // 2
    # One slice first: all of them take longer than everything else that is checked.
    if (
        ours.shape != theirs.shape
        or not np.array_equal(ours[middle], theirs[middle])
        or not np.array_equal(ours, theirs)
    ):
        return ()
    message = "every voxel of the daily CT equals the planning CT's; send the CT of the day"
    return (Finding("daily-equals-planning", Verdict.FAIL, message),)
