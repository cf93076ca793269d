"""What the routes know of the work behind them: its protocol, what it reads and what it answers."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from imaging.dicom.objects import CtSeries, PlannedStructures
from imaging.findings import Finding
from imaging.manifest import ModelManifest
from imaging.planned import PlannedRois
from imaging.timing import Stopwatch
from service.report import Kind, Report
from service.uploads import Upload

PassCheck = Callable[[str, bool | None, str], None]
"""Called with the name of a readiness check, whether it passed (None: still at it), and a detail."""


@dataclass(frozen=True, eq=False, repr=False)
class ReadPlan:
    """Planning CT and its structures, accepted.

    Attributes:
        prepared: What can be computed of all its ROIs before the daily CT is there; for a staged plan only.
    """

    ct: CtSeries
    structures: PlannedStructures
    prepared: PlannedRois | None = None

    @property
    def digest(self) -> str:
        """SHA-256 over both."""
        return hashlib.sha256(f"{self.ct.digest} {self.structures.digest}".encode()).hexdigest()


@dataclass(frozen=True, eq=False, repr=False)
class Answer:
    """What goes back.

    Attributes:
        objects: RTSTRUCT bytes per kind; SEGMENTED is absent where the network knows no organ of the case.
        report: What was done and found.
        findings: Every check, for the metrics.
    """

    objects: dict[Kind, bytes]
    report: Report
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class ServedModel:
    """The model that is loaded, as GET /models shows it."""

    manifest: ModelManifest
    provider: str
    card: str


class Core(Protocol):
    """What the routes need of the work behind them. Every method is slow and runs on the device's one worker."""

    def bring_up(self, passed: PassCheck) -> ServedModel | None:
        """Load and try the model; a check that fails is reported, then raised."""

    def read_plan(self, upload: Upload, stopwatch: Stopwatch) -> ReadPlan:
        """Read planning CT and RTSTRUCT."""

    def recontour(self, upload: Upload, plan: ReadPlan | None, stopwatch: Stopwatch) -> Answer:
        """Answer one case; `plan` stands for the planning objects where it was staged."""
