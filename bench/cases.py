"""The real abdominal case of the shared test data, read plainly: axial slices, identity orientation."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom

from imaging.geometry import VolumeGeometry
from imaging.masks import PackedMasks
from imaging.rasterize import rasterize
from imaging.structures import Contour, Roi, StructureSet
from imaging.volume import Volume

SHARED = Path(os.environ.get("RECONTOUR_SHARED", Path(__file__).resolve().parents[1] / ".." / "shared"))


@dataclass(frozen=True, eq=False)
class BenchCase:
    """Two CTs, the planned masks, and the true masks on the daily grid by ROI name."""

    daily: Volume
    planning: Volume
    masks: tuple[PackedMasks, ...]
    names: dict[int, str]
    truth: dict[str, np.ndarray]


def cort_liver(*, hard: bool) -> BenchCase:
    folder = SHARED / "data" / "cort-liver"
    planning = read_ct(folder / "planning")
    plan = pydicom.dcmread(next((folder / "planning").glob("rtss_*.dcm")))
    names = {int(item.ROINumber): str(item.ROIName) for item in plan.StructureSetROISequence}
    rois = []
    for item in plan.ROIContourSequence:
        loops = [np.array(c.ContourData, float).reshape(-1, 3) for c in item.ContourSequence]
        contours = tuple(Contour(float(p[0, 2]), np.ascontiguousarray(p[:, :2])) for p in loops if len(p) > 2)
        rois.append(Roi(int(item.ReferencedROINumber), names[int(item.ReferencedROINumber)], contours=contours))
    daily = read_ct(folder / ("daily-hard" if hard else "daily"))
    with np.load(folder / ("truth-hard.npz" if hard else "truth.npz")) as stored:
        truth = {name[5:]: stored[name] for name in stored.files if name.startswith("mask_")}
    masks = rasterize(StructureSet(tuple(rois)), planning.geometry)
    return BenchCase(daily, planning, masks, names, truth)


def read_ct(folder: Path) -> Volume:
    slices = [pydicom.dcmread(path) for path in sorted(folder.glob("*.dcm"))]
    slices = sorted((s for s in slices if s.Modality == "CT"), key=lambda s: float(s.ImagePositionPatient[2]))
    hu = np.stack([s.pixel_array * float(s.RescaleSlope) + float(s.RescaleIntercept) for s in slices])
    x, y, z = (float(v) for v in slices[0].ImagePositionPatient)
    dz = (float(slices[-1].ImagePositionPatient[2]) - z) / (len(slices) - 1)
    dy, dx = (float(v) for v in slices[0].PixelSpacing)
    return Volume(np.round(hu).astype(np.int16), VolumeGeometry(hu.shape, (x, y, z), (dx, dy, dz)))


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * float((a & b).sum()) / float(a.sum() + b.sum())
