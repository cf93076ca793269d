"""Whether the numbers of a series can be Hounsfield units: soft tissue must be where it is in every CT."""

from typing import Final

import numpy as np

from imaging.arrays import HuVoxels
from imaging.errors import HuImplausible

TISSUE_FLOOR_HU: Final = -400
"""Above: soft tissue, fat and bone. Below: air, lung and foam."""

TISSUE_MEDIAN_HU: Final = (-250.0, 300.0)
"""Range of the median above the floor; wide enough for cone-beam CT and fat. Without the rescale it is about 1050."""

SMALLEST_TISSUE_SHARE: Final = 0.005
_STRIDE = 4


def check_hounsfield(hu: HuVoxels) -> None:
    """Refuse a series (z, y, x) whose soft tissue is not near 0 HU, or that shows none.

    Raises:
        HuImplausible: With the median that was found.
    """
    z, y, x = hu.shape
    middle = hu[:: max(1, z // 50), y // 4 : y - y // 4, x // 4 : x - x // 4][:, ::_STRIDE, ::_STRIDE]
    tissue = middle[middle > TISSUE_FLOOR_HU]
    if middle.min() == middle.max() or tissue.size < SMALLEST_TISSUE_SHARE * middle.size:
        raise HuImplausible(
            f"{100 * tissue.size / middle.size:.1f} % of the middle of the image is above {TISSUE_FLOOR_HU} HU or all "
            "of it is equal; check the rescale and send the original CT images"
        )
    median = float(np.median(tissue))
    low, high = TISSUE_MEDIAN_HU
    if not low <= median <= high:
        raise HuImplausible(
            f"the median of tissue is {median:.0f} HU, not within {low:.0f} to {high:.0f}; "
            "check the rescale and send the original CT images",
            median_hu=median,
            lower_hu=low,
            upper_hu=high,
        )
