"""Independent programs that judge what we write: dciodvfy (is it the standard's object?) and readers of contours."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from imaging.geometry import VolumeGeometry

DCMRTSTRUCT_PYTHON = os.environ.get("RECONTOUR_DCMRTSTRUCT2NII_PYTHON", "")
"""Python of an environment that has dcmrtstruct2nii; it needs pydicom < 3 and so cannot share ours."""

needs_dciodvfy = pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is not installed")
needs_dcmrtstruct2nii = pytest.mark.skipif(
    not DCMRTSTRUCT_PYTHON, reason="RECONTOUR_DCMRTSTRUCT2NII_PYTHON names no Python with dcmrtstruct2nii"
)
needs_plastimatch = pytest.mark.skipif(shutil.which("plastimatch") is None, reason="plastimatch is not installed")

_DCMRTSTRUCT_SCRIPT = """
import sys
from dcmrtstruct2nii import dcmrtstruct2nii
dcmrtstruct2nii(sys.argv[1], sys.argv[2], sys.argv[3], gzip=False, convert_original_dicom=False)
"""


def dciodvfy_errors(rtstruct: bytes) -> list[str]:
    """Lines that dciodvfy marks as errors."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rtstruct.dcm"
        path.write_bytes(rtstruct)
        run = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    return [line for line in (run.stdout + run.stderr).splitlines() if line.startswith("Error")]


def plastimatch_volumes_cc(
    rtstruct: bytes, ct_files: list[bytes], *, grid: VolumeGeometry | None = None
) -> dict[str, float]:
    """Volume of every ROI by name, as plastimatch rasterises it on the CT, or on the slices of another grid."""
    with tempfile.TemporaryDirectory() as folder:
        structures, ct, out = _on_disk(folder, rtstruct, ct_files)
        where = ["--referenced-ct", str(ct)]
        if grid is not None:
            where = ["--fixed", str(Path(folder) / "grid.nrrd")]
            sitk.WriteImage(_blank(grid), where[1], True)
        subprocess.run(
            [
                *("plastimatch", "convert", "--input", str(structures), *where),
                *("--output-prefix", str(out), "--prefix-format", "nrrd"),
            ],
            capture_output=True,
            check=True,
        )
        return {path.stem: _mask_cc(path) for path in sorted(out.glob("*.nrrd"))}


def dcmrtstruct2nii_volumes_cc(rtstruct: bytes, ct_files: list[bytes]) -> dict[str, float]:
    """Volume of every ROI by name, as dcmrtstruct2nii rasterises it on the CT.

    Needs `RECONTOUR_DCMRTSTRUCT2NII_PYTHON`.
    """
    with tempfile.TemporaryDirectory() as folder:
        structures, ct, out = _on_disk(folder, rtstruct, ct_files)
        subprocess.run(
            [DCMRTSTRUCT_PYTHON, "-c", _DCMRTSTRUCT_SCRIPT, str(structures), str(ct), str(out)],
            capture_output=True,
            check=True,
        )
        return {path.stem.removeprefix("mask_"): _mask_cc(path) for path in sorted(out.glob("mask_*.nii"))}


def _on_disk(folder: str, rtstruct: bytes, ct_files: list[bytes]) -> tuple[Path, Path, Path]:
    structures, ct, out = Path(folder) / "rtstruct.dcm", Path(folder) / "ct", Path(folder) / "out"
    structures.write_bytes(rtstruct)
    ct.mkdir()
    out.mkdir()
    for number, content in enumerate(ct_files):
        (ct / f"{number:04}.dcm").write_bytes(content)
    return structures, ct, out


def _blank(grid: VolumeGeometry) -> sitk.Image:
    image = sitk.Image(grid.shape[::-1], sitk.sitkUInt8)
    image.SetOrigin(grid.origin_mm)
    image.SetSpacing(grid.spacing_mm)
    return image


def _mask_cc(path: Path) -> float:
    image = sitk.ReadImage(str(path))
    voxels = np.count_nonzero(sitk.GetArrayViewFromImage(image))
    return float(voxels * np.prod(image.GetSpacing()) / 1000)
