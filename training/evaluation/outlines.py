"""The organs of an answer as packed bits on disk, so that pictures need no system to run again."""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np

from imaging.arrays import MaskVoxels
from training.evaluation.system import PATHS, Contoured, HeldOutCase, PathName

Outlines = Mapping[PathName, Mapping[int, MaskVoxels]]
"""Path -> label -> mask (z, y, x) on the daily grid; organs that were not found are not in it."""


def write_outlines(contoured: Contoured, case: HeldOutCase, file: Path) -> None:
    """Store what lies inside 0.5, organ by organ and path by path, as boxes of bits."""
    arrays: dict[str, np.ndarray] = {"shape": np.asarray(case.daily.volume.hu.shape, dtype=np.int32)}
    for path, patches in contoured.paths.items():
        for patch in patches:
            if patch.inside.size:
                key = f"{path}.{patch.roi_number}"
                arrays[f"{key}.box"] = np.asarray([*patch.lower, *patch.inside.shape], dtype=np.int32)
                arrays[f"{key}.bits"] = np.packbits(patch.inside >= 0.5)
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part.npz")
    np.savez_compressed(part, **arrays)  # type: ignore[arg-type]
    part.replace(file)


def read_outlines(file: Path) -> Outlines:
    """The masks that `write_outlines` stored."""
    found: dict[PathName, dict[int, MaskVoxels]] = {}
    with np.load(file, allow_pickle=False) as arrays:
        shape = tuple(int(n) for n in arrays["shape"])
        for key in arrays.files:
            path, _, rest = key.partition(".")
            label, _, kind = rest.partition(".")
            if path in PATHS and kind == "box":
                k, j, i, depth, height, width = (int(n) for n in arrays[key])
                bits = np.unpackbits(arrays[f"{path}.{label}.bits"], count=depth * height * width)
                mask = np.zeros(shape, dtype=np.bool_)
                mask[k : k + depth, j : j + height, i : i + width] = bits.reshape(depth, height, width)
                found.setdefault(cast(PathName, path), {})[int(label)] = mask
    return found
