"""What a structure set says that it was drawn on. PS3.3 C.8.8.5, C.8.8.6."""

from pydicom import Dataset

from imaging.dicom import tags
from imaging.dicom.attributes import items, needed_uid
from imaging.dicom.contour_reading import contour_entries


def referenced_series(dataset: Dataset) -> frozenset[str]:
    """Series Instance UIDs of Referenced Frame of Reference Sequence."""
    return frozenset(
        needed_uid(series, tags.SERIES_INSTANCE_UID, "the referenced Series Instance UID")
        for frame in items(dataset, tags.REFERENCED_FRAME_OF_REFERENCE_SEQUENCE)
        for study in items(frame, tags.RT_REFERENCED_STUDY_SEQUENCE)
        for series in items(study, tags.RT_REFERENCED_SERIES_SEQUENCE)
    )


def referenced_images(dataset: Dataset) -> frozenset[str]:
    """SOP Instance UIDs that the contours name."""
    contours = contour_entries(dataset).contours
    return frozenset(contour.image_uid.rstrip(b" \0").decode("ascii", "replace") for contour in contours) - {""}
