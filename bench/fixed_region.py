"""The shipped model with one region size of our choice, so that every case is computed on the same number of voxels."""

import json
from pathlib import Path

from service.pipeline import model_folder

Size = tuple[int, int, int]


def with_region(models_dir: Path, model: str, size: Size, scratch: Path) -> Path:
    """A folder of models below `scratch` that holds `model` with `size` (z, y, x) as its only region.

    Raises:
        ModelNotFound: If there is no such model.
        ModelError: When it is loaded, if the network cannot take the size.
    """
    source = model_folder(models_dir, model)
    target = scratch / source.parent.name / source.name
    target.mkdir(parents=True)
    for file in source.iterdir():
        if file.name != "manifest.json":
            (target / file.name).symlink_to(file.resolve())
    manifest = json.loads((source / "manifest.json").read_text())
    (target / "manifest.json").write_text(json.dumps({**manifest, "region_sizes": [size]}))
    return scratch
