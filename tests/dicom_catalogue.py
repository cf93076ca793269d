"""Every damaged or unusual input that the readers are held to, and what becomes of it.

`python -m tests.dicom_catalogue` prints docs/inputs.md.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from pydicom import DataElement, Dataset

from imaging import errors
from imaging.dicom.ct_series import read_ct_series
from imaging.dicom.limits import ReadLimits
from imaging.dicom.objects import CtSeries, PlannedStructures
from imaging.dicom.parse import parse
from imaging.dicom.patient import check_same_patient
from imaging.dicom.roles import check_roles
from imaging.dicom.structure_set_reader import read_structure_set
from imaging.findings import Finding
from service.uploads import Role, require_roles
from service.uploads import Upload as Received
from tests.dicom_factory import (
    DAILY,
    PLANNED_ROIS,
    PLANNING,
    SMALL,
    Edit,
    RoiSpec,
    Upload,
    contour_item,
    ct_bytes,
    deflated,
    good_upload,
    new_uid,
    square,
    structure_bytes,
)


@dataclass(frozen=True)
class Input:
    """One row: `refusal` is the error class, or None where it is accepted with the findings `notices`."""

    name: str
    make: Callable[[], Upload]
    refusal: type[errors.InputError] | None
    notices: tuple[str, ...] = ()
    limits: ReadLimits = SMALL


@dataclass(frozen=True)
class ReadCase:
    planning: CtSeries
    plan: PlannedStructures
    daily: CtSeries
    findings: tuple[Finding, ...]


def read_upload(upload: Upload, limits: ReadLimits = SMALL) -> ReadCase:
    """What the edge does with three form fields, without HTTP."""
    fields: dict[Role, list[bytes]] = {
        "planning_ct": upload.planning,
        "planning_structures": upload.structures,
        "daily_ct": upload.daily,
    }
    require_roles(Received(objects=fields), plan_staged=False)
    parts = (
        [parse(data, limits=limits) for data in files] for files in (upload.planning, upload.structures, upload.daily)
    )
    planning_objects, structure_object, daily_objects = check_roles(*parts)
    planning = read_ct_series(planning_objects, role="planning CT", limits=limits)
    daily = read_ct_series(daily_objects, role="daily CT", limits=limits)
    plan = read_structure_set(structure_object, planning, limits=limits)
    patient = check_same_patient(planning, plan, daily)
    return ReadCase(planning, plan, daily, (*planning.notices, *daily.notices, *plan.notices, *patient))


def daily_with(edit: Edit | None = None, *, hu: np.ndarray | None = None, **changes: object) -> Callable[[], Upload]:
    """A good case whose daily CT is made of a changed specification or edited slices."""
    return lambda: replace(good_upload(), daily=ct_bytes(replace(DAILY, **changes), edit=edit, hu=hu))


def daily_files(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[], Upload]:
    """A good case whose daily files are changed as bytes."""
    return lambda: replace(good_upload(), daily=change(list(good_upload().daily)))


def plan_with(edit: Callable[[Dataset], None] | None = None, rois: list[RoiSpec] | None = None) -> Callable[[], Upload]:
    """A good case whose RTSTRUCT is edited."""
    return lambda: replace(good_upload(), structures=[structure_bytes(PLANNING, rois, edit=edit)])


def every(keyword: str, value: object) -> Edit:
    """Give one attribute a value in every slice; None deletes it."""

    def edit(_k: int, dataset: Dataset) -> None:
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)

    return edit


def one(index: int, keyword: str, value: object) -> Edit:
    """Give one attribute a value in one slice; None deletes it."""
    whole = every(keyword, value)
    return lambda k, dataset: whole(k, dataset) if k == index else None


def typed(keyword: str, vr: str, value: object) -> Edit:
    """Store one attribute with another value representation."""

    def edit(_k: int, dataset: Dataset) -> None:
        dataset[keyword] = DataElement(dataset[keyword].tag, vr, value)

    return edit


def moved(offsets: Callable[[int], tuple[float, float, float]]) -> Edit:
    """Shift the position of every slice."""

    def edit(k: int, dataset: Dataset) -> None:
        position = [float(a) + b for a, b in zip(dataset.ImagePositionPatient, offsets(k), strict=True)]
        dataset.ImagePositionPatient = [f"{value:.9g}" for value in position]

    return edit


def turned(*orientation: float) -> Edit:
    return every("ImageOrientationPatient", [f"{value:.8g}" for value in orientation])


def nested(depth: int) -> bytes:
    """A sequence of undefined length within a sequence, `depth` times, in implicit VR."""
    opening = b"\x08\x00\x40\x11\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    closing = b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0"
    return opening * depth + closing * depth


def with_nesting(depth: int) -> Upload:
    def insert(data: bytes) -> bytes:
        # Referenced Image Sequence (0008,1140) comes before the patient group in a sorted data set.
        at = data.index(b"\x10\x00\x10\x00", 300)
        return data[:at] + nested(depth) + data[at:]

    files = ct_bytes(replace(DAILY, transfer_syntax="1.2.840.10008.1.2"))
    return replace(good_upload(), daily=[insert(files[0]), *files[1:]])


def loops(
    *corners_and_planes: tuple[int | float, list[tuple[float, float]]], kind: str = "CLOSED_PLANAR"
) -> list[RoiSpec]:
    return [*PLANNED_ROIS, RoiSpec(20, "PLANTED-Extra", list(corners_and_planes), geometric_type=kind)]


CENTRE = (4.0, -3.0)
BOX = square(CENTRE, 5.0)


def first_contour(dataset: Dataset) -> Dataset:
    return dataset.ROIContourSequence[0].ContourSequence[0]


def edit_first_contour(keyword: str, value: object) -> Callable[[Dataset], None]:
    def edit(dataset: Dataset) -> None:
        setattr(first_contour(dataset), keyword, value)

    return edit


def raw_contour_data(text: bytes) -> Callable[[Dataset], None]:
    def edit(dataset: Dataset) -> None:
        contour = first_contour(dataset)
        contour[0x30060050] = DataElement(0x30060050, "LT", text.decode("ascii"))

    return edit


def every_contour(change: Callable[[Dataset], None]) -> Callable[[Dataset], None]:
    def edit(dataset: Dataset) -> None:
        for roi in dataset.ROIContourSequence:
            for contour in roi.get("ContourSequence", []):
                change(contour)

    return edit


def forget_image(contour: Dataset) -> None:
    del contour.ContourImageSequence


def other_image(contour: Dataset) -> None:
    contour.ContourImageSequence[0].ReferencedSOPInstanceUID = new_uid("an image that was not sent")


def other_frame(dataset: Dataset) -> None:
    for item in dataset.StructureSetROISequence:
        item.ReferencedFrameOfReferenceUID = new_uid("another frame")


def other_series(dataset: Dataset) -> None:
    frame = dataset.ReferencedFrameOfReferenceSequence[0]
    frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0].SeriesInstanceUID = new_uid("another series")


def other_image_and_no_series(dataset: Dataset) -> None:
    del dataset.ReferencedFrameOfReferenceSequence
    every_contour(other_image)(dataset)


def drawn_on_daily(dataset: Dataset) -> None:
    frame = dataset.ReferencedFrameOfReferenceSequence[0]
    frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0].SeriesInstanceUID = DAILY.series_uid


def twice_the_number(dataset: Dataset) -> None:
    dataset.StructureSetROISequence[1].ROINumber = dataset.StructureSetROISequence[0].ROINumber


def unknown_number(dataset: Dataset) -> None:
    dataset.ROIContourSequence[0].ReferencedROINumber = 77


def no_contours(dataset: Dataset) -> None:
    del dataset.ROIContourSequence[0].ContourSequence


def no_item(dataset: Dataset) -> None:
    del dataset.ROIContourSequence[0]


def sop_class(uid: str) -> Callable[[], Upload]:
    return daily_with(every("SOPClassUID", uid))


def same_daily_uid(files: list[bytes]) -> list[bytes]:
    """The first slice again, with other pixels."""
    again = ct_bytes(replace(DAILY, brighter_hu=DAILY.brighter_hu + 1))
    return [*files, again[0]]


def same_place(files: list[bytes]) -> list[bytes]:
    again = ct_bytes(DAILY, edit=one(0, "SOPInstanceUID", new_uid("a second image")))
    return [*files, again[0]]


def inflating(files: list[bytes]) -> list[bytes]:
    return [deflated(files[0], bytes(8 * 1024 * 1024)), *files[1:]]


def many_elements(files: list[bytes]) -> list[bytes]:
    element = b"\x09\x00\x01\x10UN\0\0\0\0\0\0"
    at = files[0].index(b"\x10\x00\x10\x00PN")
    return [files[0][:at] + element * 20_000 + files[0][at:], *files[1:]]


def long_element(files: list[bytes]) -> list[bytes]:
    """An attribute that says it is longer than the file."""
    at = files[0].index(b"\x10\x00\x10\x00PN")
    return [files[0][:at] + b"\x09\x00\x01\x10UN\0\0\xf0\xff\xff\xff" + files[0][at:], *files[1:]]


def lossy_flag(_k: int, dataset: Dataset) -> None:
    dataset.LossyImageCompression = "01"


def localizer(files: list[bytes]) -> list[bytes]:
    scout = ct_bytes(
        replace(DAILY, name="scout"),
        edit=lambda _k, dataset: setattr(dataset, "ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"]),
    )[0]
    return [*files, scout]


def colour(_k: int, dataset: Dataset) -> None:
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0


def patient(**values: object) -> Callable[[], Upload]:
    def edit(k: int, dataset: Dataset) -> None:
        for keyword, value in values.items():
            every(keyword, value)(k, dataset)

    return daily_with(edit)


def executable(files: list[bytes]) -> list[bytes]:
    return [b"MZ" + b"\x90" * 126 + data[128:] for data in files]


def shear(degrees: float) -> Edit:
    return moved(lambda k: (0.0, k * DAILY.spacing_mm[2] * float(np.tan(np.radians(degrees))), 0.0))


def syntax_label(uid: str) -> Callable[[], Upload]:
    """A native file that says it is in another transfer syntax."""

    def relabel(data: bytes) -> bytes:
        old = b"1.2.840.10008.1.2.1\0"
        at = data.index(old)
        new = uid.encode() + b"\0" * (len(uid) % 2)
        length_at = at - 2
        grown = data[:length_at] + len(new).to_bytes(2, "little") + new + data[at + len(old) :]
        group = int.from_bytes(grown[140:144], "little") + len(new) - len(old)
        return grown[:140] + group.to_bytes(4, "little") + grown[144:]

    return daily_files(lambda files: [relabel(data) for data in files])


E = errors
CATALOGUE: tuple[Input, ...] = (
    # Files
    Input("text that is called .dcm", daily_files(lambda f: [b"This is not DICOM.\n" * 40, *f[1:]]), E.NotDicom),
    Input("an empty file", daily_files(lambda f: [b"", *f[1:]]), E.NotDicom),
    Input("a file cut in its meta information", daily_files(lambda f: [f[0][:180], *f[1:]]), E.NotDicom),
    Input("a file cut in its header", daily_files(lambda f: [f[0][:700], *f[1:]]), E.Truncated),
    Input("a file cut in its pixels", daily_files(lambda f: [f[0][:-100], *f[1:]]), E.Truncated),
    Input("an image without pixels", daily_with(one(2, "PixelData", None)), E.Truncated),
    Input("an attribute longer than the file", daily_files(long_element), E.Truncated),
    Input("20 000 attributes in one header", daily_files(many_elements), E.TooLarge),
    Input(
        "a private attribute of 9 MiB",
        daily_with(lambda _k, d: d.private_block(9, "P", create=True).add_new(1, "OB", bytes(9 << 20))),
        E.TooLarge,
    ),
    Input("sequences nested 40 deep", lambda: with_nesting(40), E.ValueInvalid),
    Input("sequences nested 4000 deep", lambda: with_nesting(4000), E.ValueInvalid),
    Input(
        "a deflated file that inflates beyond the limit",
        daily_files(inflating),
        E.TooLarge,
        limits=replace(SMALL, instance_bytes=1 << 20),
    ),
    Input("a deflated file that is cut off", daily_files(lambda f: [deflated(f[0])[:-40], *f[1:]]), E.Truncated),
    Input("an executable in the preamble", daily_files(executable), None),
    Input("an instance beyond the limit", good_upload, E.TooLarge, limits=replace(SMALL, instance_bytes=1000)),
    # Kinds of objects and compression
    Input("enhanced multi-frame CT", sop_class("1.2.840.10008.5.1.4.1.1.2.1"), E.UnsupportedObject),
    Input("an RT dose among the images", sop_class("1.2.840.10008.5.1.4.1.1.481.2"), E.UnsupportedObject),
    Input("an object without SOP class", daily_with(every("SOPClassUID", None)), E.ValueInvalid),
    Input(
        "an RTSTRUCT among the daily images",
        lambda: replace(good_upload(), daily=[*good_upload().daily, structure_bytes(PLANNING)]),
        E.UnsupportedObject,
    ),
    Input(
        "a CT image as planning structures",
        lambda: replace(good_upload(), structures=good_upload().daily[:1]),
        E.UnsupportedObject,
    ),
    Input("lossy JPEG 2000", syntax_label("1.2.840.10008.1.2.4.91"), E.LossyPixelData),
    Input("lossy JPEG", syntax_label("1.2.840.10008.1.2.4.51"), E.LossyPixelData),
    Input("an image that was once compressed with loss", daily_with(lossy_flag), E.LossyPixelData),
    Input("MPEG video", syntax_label("1.2.840.10008.1.2.4.100"), E.UnsupportedObject),
    Input("native pixels under a compressed transfer syntax", syntax_label("1.2.840.10008.1.2.4.70"), E.ValueInvalid),
    Input("a multi-frame image", daily_with(every("NumberOfFrames", 2)), E.UnsupportedObject),
    # Pixels
    Input(
        "Rows and Columns of 65 535",
        daily_with(lambda _k, d: (setattr(d, "Rows", 65535), setattr(d, "Columns", 65535))),
        E.TooLarge,
    ),
    Input("Rows as a 32-bit number", daily_with(typed("Rows", "UL", 20)), E.ValueInvalid),
    Input("more rows than pixels", daily_with(every("Rows", 21)), E.Truncated),
    Input("more pixels than rows", daily_with(every("Rows", 19)), E.ValueInvalid),
    Input("no Rows", daily_with(every("Rows", None)), E.ValueInvalid),
    Input("colour", daily_with(colour), E.ValueInvalid),
    Input("MONOCHROME1", daily_with(every("PhotometricInterpretation", "MONOCHROME1")), E.ValueInvalid),
    Input("8 bits allocated", daily_with(every("BitsAllocated", 8)), E.ValueInvalid),
    Input("High Bit not at the top", daily_with(every("HighBit", 11)), E.ValueInvalid),
    Input("no Rescale Slope", daily_with(every("RescaleSlope", None)), E.RescaleMissing),
    Input("no Rescale Intercept in one slice", daily_with(one(3, "RescaleIntercept", None)), E.RescaleMissing),
    Input("an empty Rescale Intercept", daily_with(every("RescaleIntercept", "")), E.RescaleMissing),
    Input("a Rescale Slope of 0", daily_with(every("RescaleSlope", "0")), E.RescaleMissing),
    Input("a Rescale Slope that is NaN", daily_with(every("RescaleSlope", "nan")), E.ValueInvalid),
    Input("Rescale Type US", daily_with(every("RescaleType", "US")), E.RescaleMissing),
    Input(
        "an intercept of 0 where -1024 is meant",
        daily_with(every("RescaleIntercept", "0"), signed=False),
        E.HuImplausible,
    ),
    Input("an intercept applied twice", daily_with(every("RescaleIntercept", "-2048")), E.HuImplausible),
    Input("nothing but air", daily_with(hu=np.full(DAILY.shape, -1000, np.int16)), E.HuImplausible),
    Input(
        "signed and unsigned slices in one series",
        lambda: replace(good_upload(), daily=[*ct_bytes(DAILY)[:3], *ct_bytes(replace(DAILY, signed=False))[3:]]),
        None,
    ),
    Input(
        "unequal rescale per slice",
        lambda: replace(
            good_upload(), daily=[*ct_bytes(DAILY)[:3], *ct_bytes(replace(DAILY, intercept=-1000.0, slope=0.5))[3:]]
        ),
        None,
    ),
    Input("big-endian", daily_with(transfer_syntax="1.2.840.10008.1.2.2"), None),
    Input("deflated", daily_with(transfer_syntax="1.2.840.10008.1.2.1.99"), None),
    Input("RLE", daily_with(transfer_syntax="1.2.840.10008.1.2.5"), None),
    Input("JPEG-LS lossless", daily_with(transfer_syntax="1.2.840.10008.1.2.4.80"), None),
    # Series
    Input("no daily CT", lambda: replace(good_upload(), daily=[]), E.MissingObject),
    Input("no RTSTRUCT", lambda: replace(good_upload(), structures=[]), E.MissingObject),
    Input(
        "two RTSTRUCTs",
        lambda: replace(good_upload(), structures=[structure_bytes(PLANNING), structure_bytes(PLANNING, loops())]),
        E.SeriesRole,
    ),
    Input(
        "the planning CT sent as daily CT",
        lambda: replace(good_upload(), daily=list(good_upload().planning)),
        E.SeriesRole,
    ),
    Input(
        "planning and daily CT swapped",
        lambda: Upload(good_upload().daily, good_upload().structures, good_upload().planning),
        E.SeriesRole,
    ),
    Input("slices of two series", daily_with(one(2, "SeriesInstanceUID", new_uid("other"))), E.MixedSeries),
    Input("slices of two studies", daily_with(one(2, "StudyInstanceUID", new_uid("other"))), E.MixedSeries),
    Input(
        "slices of two frames of reference", daily_with(one(2, "FrameOfReferenceUID", new_uid("other"))), E.MixedSeries
    ),
    Input(
        "slices of two sizes",
        lambda: replace(
            good_upload(), daily=[*good_upload().daily[:-1], ct_bytes(replace(DAILY, shape=(6, 22, 24)))[-1]]
        ),
        E.MixedSeries,
    ),
    Input("slices of two pixel spacings", daily_with(one(2, "PixelSpacing", [3.0, 2.1])), E.MixedSeries),
    Input("a localizer in the series", daily_files(localizer), E.MixedSeries),
    Input("the same file twice", daily_files(lambda f: [*f, f[0], f[4]]), None, ("duplicate-instances",)),
    Input("one UID with two contents", daily_files(same_daily_uid), E.DuplicateConflict),
    Input("two images in one place", daily_files(same_place), E.DuplicatePosition),
    Input("a missing slice", daily_files(lambda f: [*f[:3], *f[4:]]), E.MissingSlices),
    Input(
        "two missing slices at two places",
        lambda: replace(
            good_upload(),
            daily=[f for k, f in enumerate(ct_bytes(replace(DAILY, shape=(9, 20, 24)))) if k not in (2, 6)],
        ),
        E.MissingSlices,
    ),
    Input("unequal slice distances", daily_with(moved(lambda k: (0, 0, 0.4 * (k == 3)))), E.NonuniformSpacing),
    Input(
        "slice distances that drift",
        daily_with(moved(lambda k: (0, 0, 0.001 * k * k)), shape=(30, 20, 24)),
        E.NonuniformSpacing,
    ),
    Input("slice positions rounded to 0.001 mm", daily_with(moved(lambda k: (0, 0, 0.0005 * (k % 2)))), None),
    Input("2 slices", daily_files(lambda f: f[:2]), E.ValueInvalid),
    Input("more slices than the limit", good_upload, E.TooLarge, limits=replace(SMALL, max_slices=5)),
    Input("a slice shifted sideways", daily_with(moved(lambda k: (1.0 * (k == 2), 0, 0))), E.ValueInvalid),
    Input(
        "slices that are not parallel",
        daily_with(one(2, "ImageOrientationPatient", [1, 0, 0, 0, 0.9998, 0.02])),
        E.OrientationUnsupported,
    ),
    Input(
        "oblique slices",
        daily_with(turned(np.cos(0.1), np.sin(0.1), 0, -np.sin(0.1), np.cos(0.1), 0)),
        E.OrientationUnsupported,
    ),
    Input("sagittal slices", daily_with(turned(0, 1, 0, 0, 0, -1)), E.OrientationUnsupported),
    Input("coronal slices", daily_with(turned(1, 0, 0, 0, 0, -1)), E.OrientationUnsupported),
    Input("an orientation that is none", daily_with(turned(1, 0, 0, 1, 0, 0)), E.ValueInvalid),
    Input("a gantry tilt of 12 degrees", daily_with(every("GantryDetectorTilt", "12.0")), E.GantryTilt),
    Input("sheared slices", daily_with(shear(5.0)), E.GantryTilt),
    Input("no Image Position", daily_with(one(1, "ImagePositionPatient", None)), E.ValueInvalid),
    Input(
        "an Image Position that is NaN", daily_with(one(1, "ImagePositionPatient", ["nan", "0", "0"])), E.ValueInvalid
    ),
    Input(
        "an Image Position that is infinite",
        daily_with(one(1, "ImagePositionPatient", ["0", "0", "inf"])),
        E.ValueInvalid,
    ),
    Input("a Pixel Spacing of 0", daily_with(every("PixelSpacing", [0, 0])), E.ValueInvalid),
    Input("one number as Pixel Spacing", daily_with(every("PixelSpacing", "2.0")), E.ValueInvalid),
    Input(
        "a number of 22 characters",
        daily_with(one(2, "PixelSpacing", ["3.00000000000000000000", "2.00000000000000000000"])),
        None,
    ),
    Input("no Series Instance UID", daily_with(every("SeriesInstanceUID", None)), E.ValueInvalid),
    Input("a UID with letters", daily_with(every("FrameOfReferenceUID", "1.2.planted.4")), E.ValueInvalid),
    Input("a UID of 70 characters", daily_with(every("StudyInstanceUID", "1." + "2" * 68)), E.ValueInvalid),
    Input("Slice Thickness that is wrong", daily_with(every("SliceThickness", "7.7")), None),
    Input(
        "no Patient Position",
        daily_with(every("PatientPosition", None)),
        None,
        ("patient-position-unknown", "patient-position"),
    ),
    Input(
        "a Patient Position against the orientation",
        daily_with(every("PatientPosition", "FFP"), position="HFP"),
        E.PatientPositionMismatch,
    ),
    Input("a prone daily CT of a supine plan", daily_with(position="HFP"), None, ("patient-position",)),
    Input(
        "malformed attributes that nobody needs",
        daily_with(every("StudyTime", "planted time")),
        None,
        ("header-unreadable",),
    ),
    # Patient
    Input("another Patient ID", patient(PatientID="PLANTED-OTHER"), E.PatientMismatch),
    Input("another birth date", patient(PatientBirthDate="19470812"), E.PatientMismatch),
    Input("another sex", patient(PatientSex="F"), E.PatientMismatch),
    Input("two patients in one series", daily_with(one(2, "PatientID", "PLANTED-OTHER")), E.PatientMismatch),
    Input("another spelling of the name", patient(PatientName="PLANTEDFAMILY^Plantedgiven^^"), None),
    Input("another name", patient(PatientName="Planted^Married"), None, ("patient-name",)),
    Input(
        "another name and no Patient ID in the daily CT",
        patient(PatientName="Planted^Married", PatientID=""),
        E.PatientMismatch,
    ),
    Input(
        "no Patient ID in the daily CT",
        patient(PatientID=""),
        None,
        ("patient-unverified",),
    ),
    Input(
        "neither Patient ID nor birth date in the daily CT",
        patient(PatientID="", PatientBirthDate=""),
        None,
        ("patient-unverified", "patient-unidentified"),
    ),
    Input("no birth date in the daily CT", patient(PatientBirthDate=""), None, ("patient-unverified",)),
    # Structure set
    Input("an RTSTRUCT in another frame of reference", plan_with(other_frame), E.StructureReferenceMismatch),
    Input("an RTSTRUCT of another series", plan_with(other_series), E.StructureReferenceMismatch),
    Input("an RTSTRUCT drawn on the daily CT", plan_with(drawn_on_daily), E.SeriesRole),
    Input("contours of images that were not sent", plan_with(other_image_and_no_series), E.StructureReferenceMismatch),
    Input(
        "contours of odd images in the right series",
        plan_with(every_contour(other_image)),
        None,
        ("contour-image-unknown",),
    ),
    Input("contours without images", plan_with(every_contour(forget_image)), None, ("contour-without-image",)),
    Input(
        "a contour on another slice than it names",
        plan_with(
            lambda d: setattr(
                first_contour(d), "ContourImageSequence", contour_item(PLANNING, 4, BOX).ContourImageSequence
            )
        ),
        E.StructureReferenceMismatch,
    ),
    Input("a contour beyond the scan", plan_with(rois=loops((150.0, BOX))), E.StructureReferenceMismatch),
    Input(
        "a contour a third of a slice off",
        plan_with(rois=loops((110.8, BOX))),
        None,
        ("contour-without-image", "contour-snapped"),
    ),
    Input(
        "contours on a finer grid than the slices",
        plan_with(rois=loops((110.0, BOX), (111.0, BOX), (112.5, BOX))),
        None,
        ("contour-without-image", "contour-snapped", "contour-between-slices"),
    ),
    Input(
        "a contour that is not axial",
        plan_with(edit_first_contour("ContourData", [0, 0, 107.5, 5, 0, 107.5, 5, 5, 108.5, 0, 5, 108.5])),
        E.ValueInvalid,
    ),
    Input(
        "contours that mostly lie outside the image",
        plan_with(rois=[RoiSpec(1, "PLANTED", [(k, square((400.0, 0.0), 5.0)) for k in range(6)])]),
        E.StructureReferenceMismatch,
    ),
    Input(
        "one contour that reaches beyond the image",
        plan_with(rois=loops((2, square((30.0, 0.0), 9.0)))),
        None,
        ("contour-outside-image",),
    ),
    Input(
        "an ROI that lies wholly outside the image",
        plan_with(
            rois=[
                RoiSpec(1, "PLANTED", [(k, square((0.0, 0.0), 9.0)) for k in range(4)]),
                RoiSpec(2, "PLANTED 2", [(k, square((400.0, 0.0), 5.0)) for k in range(3)]),
            ]
        ),
        None,
        ("contour-outside-image",),
    ),
    Input("an ROI without contours", plan_with(no_contours), None, ("roi-empty-in-plan",)),
    Input("an ROI without an item for contours", plan_with(no_item), None, ("roi-empty-in-plan",)),
    Input(
        "points",
        plan_with(rois=loops((2, [(0.0, 0.0)]), kind="POINT")),
        None,
        ("roi-open-contours", "roi-empty-in-plan"),
    ),
    Input(
        "open contours",
        plan_with(rois=loops((2, BOX), kind="OPEN_PLANAR")),
        None,
        ("roi-open-contours", "roi-empty-in-plan"),
    ),
    Input("CLOSEDPLANAR_XOR", plan_with(rois=loops((2, BOX), (2, square(CENTRE, 2.0)), kind="CLOSEDPLANAR_XOR")), None),
    Input("a contour of an unknown type", plan_with(rois=loops((2, BOX), kind="PLANTED")), E.ValueInvalid),
    Input("a contour of 2 points", plan_with(rois=loops((2, BOX[:2]), (3, BOX))), None, ("contour-degenerate",)),
    Input(
        "a contour without area",
        plan_with(rois=loops((2, [(0.0, 0.0), (1.0, 1.0), (2.0, 2.0)]), (3, BOX))),
        None,
        ("contour-degenerate",),
    ),
    Input(
        "a contour point that is NaN",
        plan_with(raw_contour_data(b"nan\\0\\107.5\\5\\0\\107.5\\5\\5\\107.5\\0\\5\\107.5")),
        E.ValueInvalid,
    ),
    Input(
        "a contour point that is a word",
        plan_with(raw_contour_data(b"planted\\0\\107.5\\5\\0\\107.5\\5\\5\\107.5\\0\\5\\107.5")),
        E.ValueInvalid,
    ),
    Input(
        "a contour point that is left empty",
        plan_with(raw_contour_data(b"\\0\\107.5\\5\\0\\107.5\\5\\5\\107.5\\0\\5\\107.5")),
        E.ValueInvalid,
    ),
    Input(
        "two numbers where three are needed",
        plan_with(edit_first_contour("ContourData", [0, 0, 107.5, 5, 0, 107.5, 5, 5])),
        E.ValueInvalid,
    ),
    Input(
        "another number of points than stated",
        plan_with(edit_first_contour("NumberOfContourPoints", 5)),
        E.ValueInvalid,
    ),
    Input("an ROI number twice", plan_with(twice_the_number), E.RoiAmbiguous),
    Input("contours of an ROI that is not described", plan_with(unknown_number), E.ValueInvalid),
    Input("no ROI at all", plan_with(rois=[]), E.MissingObject),
    Input("no ROI Contour Sequence", plan_with(lambda d: delattr(d, "ROIContourSequence")), E.ValueInvalid),
    Input(
        "no observations",
        plan_with(lambda d: delattr(d, "RTROIObservationsSequence")),
        None,
        ("roi-without-observation",),
    ),
    Input(
        "an RTSTRUCT cut in the middle",
        lambda: replace(good_upload(), structures=[structure_bytes(PLANNING)[:-900]]),
        E.Truncated,
    ),
    Input("more contour points than the limit", good_upload, E.TooLarge, limits=replace(SMALL, contour_points=30)),
    Input("more ROIs than the limit", good_upload, E.TooLarge, limits=replace(SMALL, rois=1)),
)


def outcome(case: Input) -> tuple[str, str]:
    """Problem code and message of a refusal, or 'accepted' and the findings."""
    try:
        read = read_upload(case.make(), case.limits)
    except errors.InputError as refusal:
        return refusal.code, refusal.message
    return "accepted", "; ".join(
        f"{finding.check}: {finding.message}" for finding in read.findings
    ) or "as if nothing were odd"


def as_markdown() -> str:
    """docs/inputs.md."""
    from service.problems import PROBLEMS  # noqa: PLC0415 - only this page needs the edge

    rows = []
    for case in CATALOGUE:
        code, message = outcome(case)
        status = "200" if code == "accepted" else str(PROBLEMS[code].status)
        rows.append(f"| {case.name} | {status} | {code} | {message} |")
    return "\n".join(
        (
            "# Damaged and unusual inputs",
            "",
            "What becomes of each, as the tests send it: three form fields, small series of 6 slices. The messages",
            "are the ones that a client gets. Written by `python -m tests.dicom_catalogue`, compared by",
            "tests/imaging/dicom/test_catalogue.py.",
            "",
            "| input | status | problem | message |",
            "|---|---|---|---|",
            *rows,
            "",
        )
    )


if __name__ == "__main__":
    print(as_markdown(), end="")  # noqa: T201
