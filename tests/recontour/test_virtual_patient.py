from pathlib import Path

import numpy as np
import pytest

from imaging.geometry import VolumeGeometry
from imaging.structures import Contour, Roi, StructureSet
from imaging.transforms import AffineTransform, Deformation
from imaging.volume import Volume
from phantom.case import CLINIC_A, PhantomCase
from recontour.virtual_patient import write_folders, write_virtual_patient


def tiny_case(slices: int) -> PhantomCase:
    grid = VolumeGeometry((slices, 8, 8), (0.0, 0.0, 0.0), (1.0, 1.0, 2.0))
    volume = Volume(np.zeros(grid.shape, dtype=np.int16), grid)
    corners = np.array([[1.0, 1.0], [5.0, 1.0], [5.0, 5.0]])
    structures = StructureSet((Roi(1, "Bladder", contours=(Contour(2.0, corners),)),))
    labels = np.zeros(grid.shape, dtype=np.uint8)
    motion = Deformation(AffineTransform.identity())
    return PhantomCase(1, CLINIC_A, 1, volume, volume, structures, structures, labels, labels, motion)


def test_a_shorter_scan_leaves_no_slices_of_a_longer_one(tmp_path: Path) -> None:
    write_folders(tiny_case(5), tmp_path)
    folders = write_folders(tiny_case(3), tmp_path)
    assert len(list(folders.daily.glob("*.dcm"))) == 3
    assert sorted(file.name for file in folders.planning.iterdir()) == [
        "CT_0001.dcm",
        "CT_0002.dcm",
        "CT_0003.dcm",
        "RS.dcm",
    ]
    assert folders.truth.is_file()


def test_files_of_somebody_else_are_neither_mixed_in_nor_deleted(tmp_path: Path) -> None:
    other = tmp_path / "daily" / "other.dcm"
    other.parent.mkdir()
    other.write_bytes(b"x")
    with pytest.raises(ValueError, match="other files"):
        write_folders(tiny_case(3), tmp_path)
    assert other.is_file()


def test_an_unknown_clinic_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="A or B"):
        write_virtual_patient(tmp_path, seed=1, clinic="C")
