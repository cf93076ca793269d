"""Which air is bowel gas: small, dark, and shut in by the patient."""

import numpy as np
import pytest

from imaging.gas import CONTENTS_HU, LARGEST_CC, PAINT, beside_paint, without_gas
from imaging.geometry import VolumeGeometry
from imaging.volume import Volume

GRID = VolumeGeometry((20, 40, 40), (0.0, 0.0, 0.0), (4.0, 4.0, 4.0))
"""A voxel holds 0.064 cc."""


def patient() -> np.ndarray:
    """Fat of -100 HU in air of -1000 HU."""
    hu = np.full(GRID.shape, -1000, np.int16)
    hu[:, 4:36, 4:36] = -100
    return hu


def painted(hu: np.ndarray) -> np.ndarray:
    return without_gas(Volume(hu.copy(), GRID)).hu


def test_a_pocket_of_gas_and_its_rim_get_the_contents_of_the_bowel() -> None:
    hu = patient()
    hu[10, 20, 20] = -900
    expected = patient()
    for place in ((10, 20, 20), (9, 20, 20), (11, 20, 20), (10, 19, 20), (10, 21, 20), (10, 20, 19), (10, 20, 21)):
        expected[place] = CONTENTS_HU
    assert np.array_equal(painted(hu), expected)


def test_gas_that_reaches_the_first_or_last_slice_is_painted_over_too() -> None:
    hu = patient()
    hu[:2, 20, 20] = hu[-1, 10, 10] = -900
    assert painted(hu).min() == -1000
    assert not np.any((painted(hu) > -950) & (painted(hu) < -150))


def test_lungs_stay() -> None:
    hu = patient()
    hu[:, 10:20, 10:20] = -800
    assert 20 * 10 * 10 * GRID.voxel_cc > LARGEST_CC
    assert np.array_equal(painted(hu), hu)


@pytest.mark.parametrize("place", [(10, 4, 20), (10, 35, 20), (10, 20, 4), (10, 20, 35)])
def test_what_is_open_to_the_air_around_the_patient_stays(place: tuple[int, int, int]) -> None:
    hu = patient()
    hu[place] = -900
    assert np.array_equal(painted(hu), hu)


def test_a_ct_without_gas_comes_back_as_it_is() -> None:
    volume = Volume(patient(), GRID)
    assert without_gas(volume) is volume


def test_fat_beside_bone_is_no_gas() -> None:
    hu = patient()
    hu[8:12, 18:22, 18:22] = 1200
    hu[10, 24, 24] = -180
    assert np.array_equal(painted(hu), hu)


def test_a_place_is_beside_paint_as_far_as_asked_for_along_every_axis() -> None:
    hu = patient()
    hu[10, 20, 20] = -900
    volume = Volume(hu, GRID)
    near = beside_paint(volume, without_gas(volume), 2).hu == PAINT
    # The pocket and its six neighbours are painted: three voxels away along an axis, and not four.
    for place, expected in (((10, 20, 23), True), ((10, 20, 24), False), ((12, 22, 23), True), ((13, 22, 23), False)):
        assert near[place] == expected
    without = Volume(patient(), GRID)
    assert not beside_paint(without, without_gas(without), 2).hu.any()
