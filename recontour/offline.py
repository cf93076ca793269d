"""Folders in, folder out, without a network: the same pipeline as behind POST /recontour."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from imaging.timing import Stopwatch
from recontour.client import Role as CaseRole
from recontour.client import dicom_files, save_files
from service.pipeline import ClinicalCore
from service.report import Report
from service.schemas import RequestOptions
from service.settings import Settings
from service.uploads import Role, Upload
from service.uploads_memory import Content


@dataclass(frozen=True)
class OfflineRun:
    """What a run wrote, and how long each stage took."""

    report: Report
    files: tuple[Path, ...]
    stages_s: Mapping[str, float]


def run_offline(
    settings: Settings, *, planning: Path, structures: Path, daily: Path, out: Path, options: RequestOptions
) -> OfflineRun:
    """Recontour one case on disk.

    Args:
        settings: As for the service; model, device and limits are used.
        planning: Folder of the planning CT.
        structures: The planning RTSTRUCT, or a folder that holds it alone.
        daily: Folder of the daily CT.
        out: Where <kind>.dcm and report.json go.
        options: As in a request.

    Raises:
        RecontouringError: If the case is refused or the model does not load.
        ClientError: If a folder holds no file.
    """
    core = ClinicalCore(settings)
    stopwatch = Stopwatch()
    with stopwatch.stage("start"):
        core.bring_up(_ignore)
    roles: dict[CaseRole, Path] = {"planning_ct": planning, "planning_structures": structures, "daily_ct": daily}
    with stopwatch.stage("read_files"):
        objects: dict[Role, list[Content]] = {
            role: [_bytes(item) for item in dicom_files(path, role=role)] for role, path in roles.items()
        }
        upload = Upload(objects=objects, options=options.model_dump_json().encode())
    answer = core.recontour(upload, None, stopwatch)
    with stopwatch.stage("save"):
        files = save_files(
            out, {str(kind): file for kind, file in answer.objects.items()}, answer.report.model_dump(mode="json")
        )
    return OfflineRun(answer.report, files, dict(stopwatch.seconds))


def _bytes(item: Path | bytes) -> bytes:
    return item if isinstance(item, bytes) else item.read_bytes()


def _ignore(*_check: object) -> None:
    """A check that fails raises; there is nobody to show those that pass."""
