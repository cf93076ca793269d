"""What sorting needs to know of one file: read, judged and let go, so that a whole cohort's headers fit into memory."""

from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Literal

import pydicom
from pydicom import Dataset
from pydicom.errors import InvalidDicomError

from imaging.dicom import tags
from imaging.dicom.attributes import UNREADABLE, items, raw_value, text, typed_errors
from imaging.dicom.parse import CT_IMAGE, RT_STRUCTURE_SET, ReadLimits, parse
from imaging.dicom.references import referenced_images, referenced_series
from imaging.errors import InputError, NotDicom, TooLarge
from training.unusable import because

RT_PLAN = "1.2.840.10008.5.1.4.1.1.481.5"
KIND_OF_CLASS = {CT_IMAGE: "ct", RT_STRUCTURE_SET: "structures", RT_PLAN: "plan"}
REFERENCED_STRUCTURE_SET_SEQUENCE = 0x300C0060
STRUCTURE_SET_MOMENT = (0x30060008, 0x30060009)
MOMENTS = ((0x00080022, 0x00080032), (0x00080021, 0x00080031), (0x00080020, 0x00080030))
"""Date and time of acquisition, series and study; the first that is stated counts."""

NEVER = ("99999999", "")
"""The moment of what states no date: after everything else."""

Kind = Literal["ct", "structures", "plan", "other"]


@dataclass(frozen=True)
class Header:
    """One file.

    Attributes:
        file: Where it is.
        kind: What it is; 'other' is nothing that training uses.
        sha256: Of the file.
        patient: Patient ID, '' if it is not stated or could not be read.
        series: Series Instance UID.
        instance: SOP Instance UID.
        moment: Date and time, as DICOM writes them; `NEVER` if not stated.
        localizer: Whether Image Type calls it a scout.
        drawn_on: Series Instance UIDs that a structure set names.
        images: SOP Instance UIDs that its contours name, where it names no series.
        plans: SOP Instance UIDs of the structure sets that a plan names.
        roi_names: Of a structure set.
        trouble: Reason and advice where it cannot be used, else None.
    """

    file: str = field(repr=False)
    kind: Kind = "other"
    sha256: str = ""
    patient: str = field(default="", repr=False)
    series: str = field(default="", repr=False)
    instance: str = field(default="", repr=False)
    moment: tuple[str, str] = field(default=NEVER, repr=False)
    localizer: bool = False
    drawn_on: frozenset[str] = field(default=frozenset(), repr=False)
    images: frozenset[str] = field(default=frozenset(), repr=False)
    plans: frozenset[str] = field(default=frozenset(), repr=False)
    roi_names: tuple[str, ...] = field(default=(), repr=False)
    trouble: tuple[str, str] | None = None


def read_header(file: str) -> Header:
    """The header of one file, or a header with its trouble; never an `InputError`."""
    limits = ReadLimits()
    data = b""
    try:
        data = _read(Path(file), limits)
        with typed_errors("the header of an object"):
            found = parse(data, limits=limits)
            return _described(file, found.dataset, kind="ct" if found.is_ct else "structures", sha256=found.sha256)
    except InputError as error:
        return _in_trouble(file, data, because(error))
    except OSError:
        return Header(file, trouble=("a file cannot be opened", "check its permissions"))


def _read(file: Path, limits: ReadLimits) -> bytes:
    with file.open("rb") as stream:
        start = stream.read(132)
        if start[128:] != b"DICM":
            raise NotDicom("this is no DICOM file; leave it out or export it anew")
        largest = max(limits.structure_bytes, limits.instance_bytes)
        data = start + stream.read(largest)
    if len(data) > largest:
        raise TooLarge(f"the file is larger than {largest} bytes; export it anew")
    return data


def _in_trouble(file: str, data: bytes, trouble: tuple[str, str]) -> Header:
    """As much as can be known of a file that `imaging` refuses: a damaged slice must not vanish from its series."""
    if not data:
        return Header(file, trouble=trouble)
    try:
        with typed_errors("a header"):
            dataset = pydicom.dcmread(BytesIO(data), stop_before_pixels=True)
            kind = KIND_OF_CLASS.get(text(dataset, tags.SOP_CLASS_UID), "other")
            if kind == "plan":
                return _described(file, dataset, kind="plan")
            if kind == "other" and text(dataset, tags.SOP_CLASS_UID):
                trouble = "an object is no CT image, RTSTRUCT or RTPLAN", "none; training needs only these"
            return Header(
                file,
                "ct" if kind == "ct" else "structures" if kind == "structures" else "other",
                patient=text(dataset, tags.PATIENT_ID),
                series=text(dataset, tags.SERIES_INSTANCE_UID),
                moment=_moment(dataset, MOMENTS),
                trouble=trouble,
            )
    except (InputError, InvalidDicomError, *UNREADABLE):
        return Header(file, trouble=trouble)


def _described(file: str, dataset: Dataset, *, kind: Kind, sha256: str = "") -> Header:
    drawn_on: frozenset[str] = frozenset()
    images: frozenset[str] = frozenset()
    names: tuple[str, ...] = ()
    if kind == "structures":
        drawn_on = referenced_series(dataset)
        images = frozenset() if drawn_on else referenced_images(dataset)
        names = tuple(text(item, tags.ROI_NAME) for item in items(dataset, tags.STRUCTURE_SET_ROI_SEQUENCE))
    plans = items(dataset, REFERENCED_STRUCTURE_SET_SEQUENCE) if kind == "plan" else []
    return Header(
        file,
        kind,
        sha256=sha256,
        patient=text(dataset, tags.PATIENT_ID),
        series=text(dataset, tags.SERIES_INSTANCE_UID),
        instance=text(dataset, tags.SOP_INSTANCE_UID),
        moment=_moment(dataset, (STRUCTURE_SET_MOMENT, *MOMENTS) if kind == "structures" else MOMENTS),
        localizer=b"LOCALIZER" in raw_value(dataset, tags.IMAGE_TYPE).upper(),
        drawn_on=drawn_on,
        images=images,
        plans=frozenset(text(item, tags.REFERENCED_SOP_INSTANCE_UID) for item in plans),
        roi_names=names,
    )


def _moment(dataset: Dataset, attributes: tuple[tuple[int, int], ...]) -> tuple[str, str]:
    for date, time in attributes:
        day = text(dataset, date)
        if len(day) == 8 and day.isdigit():
            return day, text(dataset, time)
    return NEVER
