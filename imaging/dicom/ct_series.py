"""A CT series to a canonical volume in Hounsfield units, or a typed refusal. PS3.3 A.3, C.7.6.2, C.8.2.1."""

import hashlib
import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Literal

import numpy as np

from imaging.dicom import tags
from imaging.dicom.attributes import raw_value, typed_errors
from imaging.dicom.ct_geometry import axial_layout, check_patient_position
from imaging.dicom.header import copyable_header
from imaging.dicom.hounsfield import check_hounsfield
from imaging.dicom.limits import ReadLimits
from imaging.dicom.objects import CtSeries
from imaging.dicom.parse import DicomObject
from imaging.dicom.pixels import write_hu
from imaging.dicom.slices import Slice, read_slice, refuse_localizers
from imaging.errors import (
    DuplicateConflict,
    MissingObject,
    MixedSeries,
    OrientationUnsupported,
    PatientMismatch,
    PatientPositionMismatch,
    TooLarge,
    UnsupportedObject,
    ValueInvalid,
)
from imaging.findings import Finding, Verdict
from imaging.volume import Volume

CtRole = Literal["planning CT", "daily CT"]

MOST_DECODERS = 8

SPACING_DIFFERENCE_MM = 1e-3
DIRECTION_DIFFERENCE = 1e-4


def read_ct_series(objects: Sequence[DicomObject], *, role: CtRole, limits: ReadLimits) -> CtSeries:
    """Read one axial CT series, in any order and any of the eight patient positions.

    Args:
        objects: Its images, as `parse` returns them.
        role: Named in notices and messages.
        limits: Number of slices and pixels.

    Raises:
        InputError: A subclass that says what is wrong with the series and what to do next.
    """
    with typed_errors(f"the {role}"):
        unique, notices = _without_duplicates(objects, role)
        slices = _read_slices(unique, role, limits)
        _check_one_series(slices, role)
        layout = axial_layout(slices)
        position_known = check_patient_position(slices[0])
        slices = [slices[index] for index in layout.order]
        hu = np.empty(layout.geometry.shape, dtype=np.int16)
        turned = partial(write_hu, transposed=layout.transposed, flip_x=layout.flip_x, flip_y=layout.flip_y)
        with ThreadPoolExecutor(decoders()) as pool:
            # The first slice that cannot be decoded raises here, whichever fails first.
            deque(pool.map(turned, slices, hu), maxlen=0)
        check_hounsfield(hu)
        header, dropped = copyable_header(slices[0].source.dataset)
    if not position_known:
        notices.append(
            _notice(
                "patient-position-unknown", f"the {role} states no known Patient Position; its orientation was used"
            )
        )
    if dropped:
        notices.append(
            _notice(
                "header-unreadable", f"{dropped} attributes of the {role} are malformed and were not copied", dropped
            )
        )
    digest = hashlib.sha256(b"".join(bytes.fromhex(image.source.sha256) for image in slices)).hexdigest()
    return CtSeries(
        volume=Volume(hu, layout.geometry),
        header=header,
        sop_instance_uids=tuple(image.sop_instance_uid for image in slices),
        frame_of_reference_uid=slices[0].frame_of_reference_uid,
        series_instance_uid=slices[0].series_instance_uid,
        patient_position=slices[0].patient_position if position_known else "",
        digest=digest,
        notices=tuple(notices),
    )


def decoders() -> int:
    """Threads that turn pixels into HU; numpy and the decoders of compressed pixels let go of the interpreter."""
    return max(2, min(MOST_DECODERS, os.cpu_count() or 1))


def _notice(check: str, message: str, value: float | None = None) -> Finding:
    return Finding(check, Verdict.REVIEW, message, value)


def _without_duplicates(objects: Sequence[DicomObject], role: CtRole) -> tuple[list[DicomObject], list[Finding]]:
    if not objects:
        raise MissingObject(f"the {role} has no image; send its series")
    if not all(one.is_ct for one in objects):
        raise UnsupportedObject(f"the {role} holds something that is no CT image; send CT images only")
    seen: dict[bytes, DicomObject] = {}
    for one in objects:
        known = seen.setdefault(raw_value(one.dataset, tags.SOP_INSTANCE_UID).rstrip(b"\0 "), one)
        if known.sha256 != one.sha256:
            raise DuplicateConflict(f"two images of the {role} have one SOP Instance UID; send one of them")
    dropped = len(objects) - len(seen)
    if not dropped:
        return list(objects), []
    message = f"{dropped} images of the {role} were sent twice; one of each was used"
    return list(seen.values()), [_notice("duplicate-instances", message, dropped)]


def _read_slices(objects: Sequence[DicomObject], role: CtRole, limits: ReadLimits) -> list[Slice]:
    refuse_localizers(objects, f"the {role}")
    if len(objects) > limits.max_slices:
        raise TooLarge(f"the {role} has {len(objects)} slices, {limits.max_slices} are read", limit=limits.max_slices)
    least = max(2, limits.min_slices)
    if len(objects) < least:
        raise ValueInvalid(
            f"the {role} has {len(objects)} slices, at least {least} are needed; send the whole series", limit=least
        )
    return [read_slice(one, limits=limits) for one in objects]


def _check_one_series(slices: Sequence[Slice], role: CtRole) -> None:
    first = slices[0]
    if len({one.patient[:3] for one in slices}) > 1:
        raise PatientMismatch(f"the images of the {role} do not all name the same patient; check the series")
    _all_equal([one.series_instance_uid for one in slices], role, "series")
    _all_equal([one.patient[3] for one in slices], role, "studies")
    _all_equal([one.frame_of_reference_uid for one in slices], role, "frames of reference")
    _all_equal([(one.pixel_format.rows, one.pixel_format.columns) for one in slices], role, "image sizes")
    spacing = np.array([one.spacing_mm for one in slices])
    if np.ptp(spacing, axis=0).max() > SPACING_DIFFERENCE_MM:
        raise MixedSeries(f"the images of the {role} have unequal pixel spacings; send one series")
    directions = np.array([(*one.row_direction, *one.column_direction) for one in slices])
    if np.ptp(directions, axis=0).max() > DIRECTION_DIFFERENCE:
        raise OrientationUnsupported(f"the images of the {role} are not parallel; send one axial series")
    if len({one.patient_position for one in slices}) > 1:
        raise PatientPositionMismatch(f"the images of the {role} state unequal patient positions; check the series")
    if first.pixel_format.rows * first.pixel_format.columns * len(slices) * 2 > np.iinfo(np.int32).max:
        raise TooLarge(f"the {role} has more than 2 GiB of voxels; send a coarser series")


def _all_equal(values: Sequence[object], role: CtRole, what: str) -> None:
    different = len(set(values))
    if different > 1:
        raise MixedSeries(f"the images of the {role} belong to {different} {what}; send one series", count=different)
