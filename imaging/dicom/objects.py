"""What the readers hand to the rest of the program: images and structures, and the attributes that an answer copies."""

from dataclasses import dataclass, field

from pydicom import Dataset

from imaging.findings import Finding
from imaging.structures import StructureSet
from imaging.volume import Volume


@dataclass(frozen=True, eq=False)
class CtSeries:
    """One accepted axial CT series.

    Attributes:
        volume: Hounsfield units on the canonical grid (+L, +P, +S).
        header: The data set of the lowest slice without pixel data; never logged.
        sop_instance_uids: Per array plane k, lowest z first.
        frame_of_reference_uid: Frame of Reference UID (0020,0052).
        series_instance_uid: Series Instance UID (0020,000E).
        patient_position: Patient Position (0018,5100), for example 'HFS'.
        digest: SHA-256 over the instances that were used, in slice order.
        notices: What was corrected or dropped on reading.
    """

    volume: Volume
    header: Dataset = field(repr=False)
    sop_instance_uids: tuple[str, ...] = field(repr=False)
    frame_of_reference_uid: str = field(repr=False)
    series_instance_uid: str = field(repr=False)
    patient_position: str
    digest: str
    notices: tuple[Finding, ...] = ()


@dataclass(frozen=True, eq=False)
class PlannedStructures:
    """An accepted RTSTRUCT of the planning CT."""

    structures: StructureSet
    header: Dataset = field(repr=False)
    digest: str
    notices: tuple[Finding, ...] = ()
