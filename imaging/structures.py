"""Structure sets: named regions of interest as closed planar contours. PS3.3 C.8.8.5, C.8.8.6, C.8.8.8."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from imaging.arrays import PointsXy

EXTERNAL = "EXTERNAL"
"""RT ROI Interpreted Type of the body outline."""

OUTLINE_NAMES = frozenset({"body", "external"})
"""Names, without regard to case, that mean the body outline where the plan gives no EXTERNAL type."""


@dataclass(frozen=True, eq=False)
class Contour:
    """One closed loop in an axial plane.

    Attributes:
        z_mm: LPS z of the plane.
        xy_mm: (n, 2) corners, n >= 3, LPS millimetres, the first not repeated; read-only.
    """

    z_mm: float
    xy_mm: PointsXy

    def __post_init__(self) -> None:
        if self.xy_mm.ndim != 2 or self.xy_mm.shape[1] != 2 or len(self.xy_mm) < 3:
            raise ValueError(f"a contour needs at least 3 corners (n, 2), not {self.xy_mm.shape}")
        self.xy_mm.flags.writeable = False

    @property
    def signed_area_mm2(self) -> float:
        """Shoelace area; positive where x turns towards y."""
        x, y = self.xy_mm[:, 0], self.xy_mm[:, 1]
        return 0.5 * float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))


@dataclass(frozen=True, eq=False)
class Roi:
    """A region of interest. All loops of one plane combine by the even-odd rule: a loop inside a loop is a hole.

    Attributes:
        number: ROI Number (3006,0022), unique in its structure set.
        name: ROI Name (3006,0026), as the plan spells it.
        interpreted_type: RT ROI Interpreted Type (3006,00A4), '' if unknown.
        colour: ROI Display Color (3006,002A), or None.
        contours: Loops in any order; empty if the ROI has none.
        generation: ROI Generation Description (3006,0038) of an ROI that this software made, else ''.
        codes: RT ROI Identification Code Sequence items of the plan as (value, scheme, meaning).
    """

    number: int
    name: str
    interpreted_type: str = ""
    colour: tuple[int, int, int] | None = None
    contours: tuple[Contour, ...] = ()
    generation: str = ""
    codes: tuple[tuple[str, str, str], ...] = ()

    @property
    def is_external(self) -> bool:
        """Whether this is the body outline, by its type or by its whole name."""
        return self.interpreted_type.upper() == EXTERNAL or self.name.strip().casefold() in OUTLINE_NAMES

    def with_contours(self, contours: Iterable[Contour], *, generation: str = "") -> "Roi":
        """The same ROI drawn anew."""
        return replace(self, contours=tuple(contours), generation=generation)


@dataclass(frozen=True, eq=False)
class StructureSet:
    """The ROIs drawn on one CT."""

    rois: tuple[Roi, ...]
    label: str = ""
    sop_instance_uid: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        numbers = [roi.number for roi in self.rois]
        if len(set(numbers)) != len(numbers):
            raise ValueError("ROI numbers are not unique")

    def by_number(self, number: int) -> Roi:
        """The ROI of that number; KeyError if there is none."""
        for roi in self.rois:
            if roi.number == number:
                return roi
        raise KeyError(number)
