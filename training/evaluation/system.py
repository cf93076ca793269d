"""What every system of the comparison offers: a case goes in, organs on the daily CT come out.

A system is a network, a registration by elastix, or nothing but the affine; what it answers is measured by one code.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, Protocol, runtime_checkable

from imaging.arrays import LabelVoxels
from imaging.masks import RoiPatch
from imaging.transforms import AffineTransform, DisplacementField
from imaging.volume import Volume

PathName = Literal["segmentation", "registration", "service"]
"""'service' is what the service delivers of a registration: the field where it helps, and the refinement."""

PATHS: tuple[PathName, ...] = ("segmentation", "registration", "service")

COMPONENTS: Mapping[str, int] = MappingProxyType({"SeminalVes": 2})
"""Islands that an organ may have; one where it is not named."""


class LabelledVolume(Protocol):
    """A CT with integer labels (z, y, x) on its own grid, 1, 2, ... for the organs."""

    @property
    def volume(self) -> Volume:
        """Hounsfield units on their grid."""

    @property
    def labels(self) -> LabelVoxels:
        """(z, y, x), 0 is background."""


class HeldOutCase(Protocol):
    """One day of a patient whom training never saw, as native scans.

    The daily labels are the truth: a system may read `daily.volume` and never `daily.labels`.
    """

    @property
    def name(self) -> str:
        """Without anything of the patient."""

    @property
    def patient(self) -> str:
        """Pseudonym; cases of one patient share it."""

    @property
    def planning(self) -> LabelledVolume:
        """The moving side, with the organs as drawn for the plan."""

    @property
    def daily(self) -> LabelledVolume:
        """The fixed side, with the truth."""

    @property
    def affine(self) -> AffineTransform:
        """From the daily to the planning patient."""


@dataclass(frozen=True, eq=False)
class Contoured:
    """What a system says about one case.

    Attributes:
        paths: The organs on the daily CT's own grid for each path that the system has; the ROI number is the label.
            An organ that was not found is left out, or empty.
        dvf: The displacement in millimetres on the affinely aligned daily patient; None where there is none.
        seconds: Wall time from the case in memory to the organs, without the affine, which all systems share.
        islands: The segmentation before its smaller components are dropped; only for the oracle column.
    """

    paths: Mapping[PathName, tuple[RoiPatch, ...]]
    dvf: DisplacementField | None
    seconds: float
    islands: tuple[RoiPatch, ...] = ()


class System(Protocol):
    """Anything that contours a case. A system may also say its `identity`, see `Identified`."""

    @property
    def name(self) -> str:
        """Short and unique; file and row names are made of it."""

    def contour(self, case: HeldOutCase) -> Contoured:
        """Contour the daily CT."""


@runtime_checkable
class Identified(Protocol):
    """A system that tells apart its own versions."""

    @property
    def identity(self) -> str:
        """Changes whenever the system would answer differently, for example a hash of weights or parameters."""


@runtime_checkable
class Routed(Protocol):
    """A system that says which paths it has before it is asked."""

    @property
    def paths(self) -> tuple[PathName, ...]:
        """The keys of `Contoured.paths`."""


@runtime_checkable
class Started(Protocol):
    """A system that says whether its first answer takes longer than the next."""

    @property
    def starts_slowly(self) -> bool:
        """False for a registration of minutes in compiled code, which nobody should do twice for its time."""


def identity_of(system: System) -> str:
    """The identity of a system; its name where it does not say more."""
    return system.identity if isinstance(system, Identified) else system.name


def starts_slowly(system: System) -> bool:
    """Whether a system needs a case for nothing before its time counts; so it does where it does not say more."""
    return system.starts_slowly if isinstance(system, Started) else True


def paths_of_system(system: System) -> tuple[PathName, ...]:
    """The paths of a system; the registration alone where it does not say more, as for all that carry the plan."""
    return system.paths if isinstance(system, Routed) else ("registration",)
