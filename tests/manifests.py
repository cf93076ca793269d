"""Manifests for tests: valid unless a test damages them."""

from typing import Any

from imaging.manifest import ModelManifest


def manifest_fields() -> dict[str, Any]:
    """The fields of a small valid manifest with two organs."""
    return {
        "name": "test-model",
        "version": "0.0.1",
        "device_uid": "2.25.1",
        "sha256": "0" * 64,
        "golden_sha256": "0" * 64,
        "opset": 17,
        "spacing_mm": 1.0,
        "margin_voxels": 20,
        "size_multiple": 4,
        "region_sizes": ((96, 96, 96), (160, 160, 160)),
        "hu_window": {"lower": -1000, "upper": 1000, "divisor": 1000},
        "label_encoding": "integer-channel",
        "organs": (
            {"label": 1, "name": "Bladder", "aliases": ("blase",), "recommended": "segmented", "colour": (255, 200, 0)},
            {"label": 2, "name": "Rectum", "aliases": (), "recommended": "propagated", "colour": (150, 80, 0)},
        ),
        "parity_tolerance": 1e-3,
        "golden_tolerance": 1e-2,
        "training_commit": "none",
        "recipe": "none",
        "cohort_hash": "none",
        "intended_use": "tests",
    }


def manifest_with(**changes: Any) -> ModelManifest:
    """A valid manifest with some fields changed."""
    return ModelManifest.model_validate(manifest_fields() | changes)
