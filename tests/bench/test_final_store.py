"""A final table can be added to, and never mixes models or cases."""

from pathlib import Path
from typing import Any

import pytest

from bench.final_store import SERVICE, Store

ELASTIX = "elastix 10 mm, 4 resolutions"
MM: dict[str, Any] = {
    "affine": {"Bladder": 3.0},
    "recommended": {"Bladder": 0.2},
    f"{ELASTIX}, label map": {"Bladder": 0.4},
    f"{ELASTIX}, our pull": {"Bladder": 0.3},
}
REPORT = {
    "model": "prostate 2.0.0",
    "in_plane": 320,
    "cases": {"A1-1": {"mm": MM, "told": {"Bladder": ["paths-dice"]}}},
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    model = tmp_path / "models" / "prostate" / "2.0.0"
    model.mkdir(parents=True)
    (model / "model.onnx").write_bytes(b"weights")
    return Store(tmp_path / "final", model, 320)


def test_a_table_that_exists_is_taken_over_and_a_later_network_joins_it(store: Store) -> None:
    store.claim()
    store.take_over(REPORT, ["A1-1"])
    assert store.has("A1-1", SERVICE)
    assert store.has("A1-1", ELASTIX)
    assert not store.has("A1-1", "Segmentation")
    store.write("A1-1", "Segmentation", {"mm": {"Segmentation, segmented": {"Bladder": 0.9}}})
    read = store.read("A1-1", [SERVICE, ELASTIX, "Segmentation"])
    assert read["mm"] == MM | {"Segmentation, segmented": {"Bladder": 0.9}}
    assert read["told"] == {"Bladder": ["paths-dice"]}


def test_a_table_of_another_model_or_other_pixels_is_refused(store: Store) -> None:
    for other in ({"model": "prostate 1.0.0"}, {"in_plane": 512}):
        with pytest.raises(SystemExit, match="leave it out"):
            store.take_over(REPORT | other, ["A1-1"])


def test_a_table_that_lacks_a_case_is_refused_with_its_name(store: Store) -> None:
    with pytest.raises(SystemExit, match="A1-2"):
        store.take_over(REPORT, ["A1-1", "A1-2"])


def test_a_folder_of_other_weights_is_refused(store: Store) -> None:
    store.claim()
    store.claim()
    (store.model / "model.onnx").write_bytes(b"others")
    with pytest.raises(SystemExit, match="another folder"):
        store.claim()
