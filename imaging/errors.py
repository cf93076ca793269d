"""Everything the core refuses or fails at. Each class has a stable `code`; HTTP is decided in `service/problems.py`.

Messages carry numbers and the next step, never a name, identifier, date or path.
"""

from typing import ClassVar


class RecontouringError(Exception):
    """Root of the family."""

    code: ClassVar[str] = "recontouring-error"

    def __init__(self, message: str, **facts: object) -> None:
        super().__init__(message)
        self.message = message
        self.facts: dict[str, object] = facts
        """Numbers for the machine-readable part of an answer (positions, limits); never patient data."""


class InputError(RecontouringError):
    """The objects that were sent cannot be used as they are."""

    code = "input-error"


class NotDicom(InputError):
    """A part is not a DICOM file, or its header is cut off."""

    code = "not-dicom"


class Truncated(InputError):
    """A DICOM object ends before its data do."""

    code = "truncated"


class TooLarge(InputError):
    """Something exceeds a limit of `GET /limits`."""

    code = "too-large"


class UnsupportedObject(InputError):
    """SOP class or transfer syntax that is not supported."""

    code = "unsupported-object"


class LossyPixelData(InputError):
    """Pixels were compressed with loss; Hounsfield units cannot be trusted."""

    code = "lossy-pixel-data"


class ValueInvalid(InputError):
    """An attribute that is needed is missing or is not a finite, valid value."""

    code = "value-invalid"


class MissingObject(InputError):
    """A role (planning CT, planning structures, daily CT) has no object."""

    code = "missing-object"


class SeriesRole(InputError):
    """Which series is the planning CT and which the daily CT cannot be decided, or both are the same."""

    code = "series-role"


class MixedSeries(InputError):
    """Slices of more than one series, or of unequal format, were sent in one role."""

    code = "mixed-series"


class DuplicateConflict(InputError):
    """One SOP instance UID was sent twice with unequal contents."""

    code = "duplicate-conflict"


class DuplicatePosition(InputError):
    """Two different images claim the same position."""

    code = "duplicate-position"


class MissingSlices(InputError):
    """There is a gap of one or more slices in a series."""

    code = "missing-slices"


class NonuniformSpacing(InputError):
    """Slices of one series are not equally spaced."""

    code = "nonuniform-spacing"


class OrientationUnsupported(InputError):
    """The series is not axial."""

    code = "orientation-unsupported"


class GantryTilt(InputError):
    """The slices are sheared against their normal."""

    code = "gantry-tilt"


class RescaleMissing(InputError):
    """Rescale slope or intercept is missing, so Hounsfield units are unknown."""

    code = "rescale-missing"


class HuImplausible(InputError):
    """The values of the image do not look like a CT in Hounsfield units."""

    code = "hu-implausible"


class PatientMismatch(InputError):
    """The objects do not belong to one patient."""

    code = "patient-mismatch"


class PatientPositionMismatch(InputError):
    """The stated patient position contradicts the orientation of the slices, or planning and daily CT differ."""

    code = "patient-position-mismatch"


class StructureReferenceMismatch(InputError):
    """The structure set was not drawn on the planning CT that was sent."""

    code = "structure-reference-mismatch"


class RoiAmbiguous(InputError):
    """Two ROIs of the plan claim the same organ or the same number."""

    code = "roi-ambiguous"


class RoiUnmapped(InputError):
    """The request names an ROI that the plan does not have, or that has no contours."""

    code = "roi-unmapped"


class OptionsInvalid(InputError):
    """The options of the request cannot be read."""

    code = "options-invalid"


class RegistrationRejected(RecontouringError):
    """The affine alignment did not pass its success test; nothing was contoured."""

    code = "registration-rejected"


class ModelError(RecontouringError):
    """The model cannot be loaded or does not do what its manifest says."""

    code = "model-error"


class ModelNotFound(ModelError):
    """There is no model of that name."""

    code = "model-not-found"


class ProviderUnavailable(ModelError):
    """The accelerator that the settings ask for is not the one in use."""

    code = "provider-unavailable"
