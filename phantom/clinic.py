"""The two clinics: how they scan, and how much their patients change from day to day.

Spacings are those of the two data sets of the MIDL 2020 paper (0.9 x 0.9 x 2.0 and 0.9 x 0.9 x 1.5 mm). The second
clinic's larger bladder changes follow that paper's remark on its test set, and are made hard on purpose: see
docs/phantom.md for what an affine leaves of them. Noise, kernel, offset and contrast are our
assumptions within the usual range of pelvic CT (12-30 HU).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scanner:
    """How a CT scanner shows the patient.

    Attributes:
        in_plane_mm: Pixel spacing.
        slice_mm: Slice spacing, equal to the slice thickness.
        noise_hu: Standard deviation of the noise in the centre of an average patient.
        noise_grain_mm: Width of the noise grain in the plane; a sharp kernel has a fine grain.
        blur_mm: Width over which an edge is spread in the plane.
        offset_hu: Added to every tissue.
        contrast: Factor on the differences between soft tissues.
        streaks: Strength of the streaks between the hips, as a fraction of the noise.
        couch: 'flat' sandwich or 'curved' shell.
    """

    in_plane_mm: float
    slice_mm: float
    noise_hu: float
    noise_grain_mm: float
    blur_mm: float
    offset_hu: float
    contrast: float
    streaks: float
    couch: str


@dataclass(frozen=True)
class DailyChange:
    """Standard deviations of the changes between planning and daily CT.

    Attributes:
        bladder_log: Of the natural logarithm of the bladder's volume ratio.
        rectum_log: Of the natural logarithm of the rectum's local diameter ratio.
        prostate_mm: Of the prostate's own motion (x, y, z), on top of what rectum and bladder push.
        prostate_tilt_deg: Of its rotation about the left-right axis.
        tissue_mm: Of the random smooth deformation of soft tissue, per component.
        setup_mm: Of the set-up translation (x, y, z).
        setup_deg: Of the set-up rotation about each axis.
    """

    bladder_log: float
    rectum_log: float
    prostate_mm: tuple[float, float, float]
    prostate_tilt_deg: float
    tissue_mm: float
    setup_mm: tuple[float, float, float]
    setup_deg: float


@dataclass(frozen=True)
class Clinic:
    """A scanner and a preparation protocol."""

    name: str
    scanner: Scanner
    change: DailyChange


CLINIC_A = Clinic(
    "A",
    Scanner(0.9, 2.0, 17.0, 2.2, 1.9, 0.0, 1.0, 0.5, "flat"),
    DailyChange(0.24, 0.15, (1.2, 1.8, 2.0), 3.0, 1.3, (3.0, 4.0, 4.0), 1.0),
)
"""Drinking protocol that keeps the bladder steady; smooth kernel, 2 mm slices."""

CLINIC_B = Clinic(
    "B",
    Scanner(0.9, 1.5, 23.0, 1.6, 1.4, 4.0, 0.92, 0.8, "curved"),
    DailyChange(1.40, 0.20, (1.7, 3.6, 3.2), 4.0, 1.5, (4.0, 5.0, 5.0), 1.2),
)
"""Nobody is told to drink: bladders are as often nearly empty or full as not. Sharper kernel, noisier, 1.5 mm."""
