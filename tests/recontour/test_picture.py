from pathlib import Path

import numpy as np
import pytest

from imaging.geometry import VolumeGeometry
from imaging.masks import RoiPatch
from imaging.volume import Volume

pytest.importorskip("matplotlib", reason="the picture needs the extra 'demo'")

from matplotlib.image import imread

from recontour import picture

GRID = VolumeGeometry((20, 60, 60), (-60.0, -60.0, 0.0), (2.0, 2.0, 5.0))


def cube(low: int, high: int) -> RoiPatch:
    inside = np.zeros((high - low + 2,) * 3, dtype=np.float32)
    inside[1:-1, 1:-1, 1:-1] = 1
    return RoiPatch(4, (low // 4, low - 1, low - 1), inside, GRID)


def colours(file: Path) -> np.ndarray:
    return np.round(imread(file)[..., :3] * 255).reshape(-1, 3)


def near(pixels: np.ndarray, colour: str) -> int:
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return int((np.abs(pixels - wanted).max(axis=1) < 25).sum())


def test_every_kind_of_outline_is_in_the_picture_and_only_those(tmp_path: Path) -> None:
    daily = Volume(np.full(GRID.shape, 40, dtype=np.int16), GRID)
    file = tmp_path / "contours.png"
    kinds = [picture.Outlines(picture.TRUTH, [cube(20, 30)]), picture.Outlines(picture.PROPAGATED, [cube(22, 32)])]
    picture.draw(
        file, daily, outlines=kinds, names={4: "Prostate"}, through_mm=(-8, -8, 35), centre_mm=(-8, -8, 35),
        half_width_mm=40, note="phantom",
    )  # fmt: skip
    pixels = colours(file)
    assert near(pixels, picture.PROPAGATED.colour) > 300
    assert near(pixels, picture.SEGMENTED.colour) == 0


def test_kinds_of_outlines_differ_in_line_as_well_as_in_colour() -> None:
    """One man in twelve does not see the colours apart."""
    styles = (picture.PLANNING, picture.TRUTH, picture.PROPAGATED, picture.SEGMENTED)
    assert len({(str(style.line), style.width) for style in styles}) == len(styles)


def test_an_roi_appears_on_the_plane_where_it_is() -> None:
    patch = cube(20, 30)
    section = picture._section(patch, 0, 8)
    assert section.shape == (60, 60)
    rows, columns = np.nonzero(section)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (20, 29, 20, 29)
    assert not picture._section(patch, 0, 0).any()
