# ruff: noqa: E402 - nothing below the first lines can be imported without torch
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra 'training'")

from types import SimpleNamespace

import numpy as np

from imaging.errors import ModelError
from imaging.model import RecontouringModel
from imaging.preprocessing import network_region
from training.checkpoint import RunState, save_network
from training.evaluation.loading import named_systems, network_system
from training.evaluation.network_system import NetworkSystem, covering_size, labelled_points
from training.evaluation.run import slug
from training.evaluation.scores import filled
from training.evaluation.torch_system import TorchBackend, paths_of, run_system, working_manifest
from training.networks.blocks import LevelOutput
from training.networks.build import build_network
from training.pairs import packed_organs
from training.recipe import MARGIN

from .evaluated import BLADDER, GRID, RECTUM, held_out, scan
from .tiny import tiny_recipe


class Copying(torch.nn.Module):
    """Segments what was planned, and displaces everything alike, in voxels."""

    def __init__(self, classes: int, along_x: float, *, segments: bool = True, registers: bool = True) -> None:
        super().__init__()
        self.classes, self.along_x, self.segments, self.registers = classes, along_x, segments, registers

    def forward(self, fixed, moving, moving_labels):  # noqa: ARG002
        inner = moving_labels[:, 0, MARGIN:-MARGIN, MARGIN:-MARGIN, MARGIN:-MARGIN].long()
        logits = 20.0 * torch.nn.functional.one_hot(inner, self.classes).movedim(-1, 1).float()
        dvf = torch.zeros(1, 3, *inner.shape[1:])
        dvf[:, 0] = self.along_x
        return (LevelOutput(logits if self.segments else None, dvf if self.registers else None),)


def system(spacing_mm: float = 1.0, along_x: float = 0.0, paths=("segmentation", "registration")) -> NetworkSystem:
    recipe = tiny_recipe().model_copy(update={"spacing_mm": spacing_mm})
    network = Copying(recipe.classes, along_x, segments="segmentation" in paths, registers="registration" in paths)
    backend = TorchBackend(network, classes=recipe.classes, spacing_mm=spacing_mm, device=torch.device("cpu"))
    model = RecontouringModel(working_manifest(recipe), None, backend)
    return NetworkSystem("copying", "1", model, paths, exported=False)


def labels_of(contoured, path) -> np.ndarray:
    found = np.zeros(GRID.shape, dtype=np.uint8)
    for label in (1, 2, 3, 4):
        found[filled(contoured.paths[path], label, GRID.shape)] = label
    return found


def test_a_network_that_moves_nothing_carries_the_plan_as_it_is():
    case = held_out()
    contoured = system().contour(case)
    assert np.array_equal(labels_of(contoured, "registration"), case.planning.labels)
    assert contoured.dvf is not None
    assert not contoured.dvf.vectors.any()


@pytest.mark.parametrize(("spacing_mm", "voxels"), [(1.0, 2.0), (2.0, 1.0)])
def test_displacements_become_millimetres_and_pull(spacing_mm, voxels):
    """Each daily point is looked up 2 mm farther along x, so the organs come to lie 2 voxels of 1 mm lower."""
    contoured = system(spacing_mm, voxels).contour(held_out())
    there = scan((BLADDER[0], BLADDER[1], slice(2, 6)), (RECTUM[0], RECTUM[1], slice(10, 14)))
    assert np.array_equal(labels_of(contoured, "registration"), there.labels)


def test_what_the_network_segments_lies_where_it_was_seen():
    """Planes of 2 mm are seen on a grid of 1 mm: the boundary is within one voxel."""
    found = labels_of(system().contour(held_out()), "segmentation")
    planned = held_out().planning.labels
    assert np.array_equal(found[5:7], planned[5:7])
    assert not found[[3, 8]].any()


@pytest.mark.parametrize("path", ["segmentation", "registration"])
def test_a_network_of_one_path_gives_that_path_alone(path):
    contoured = system(paths=(path,)).contour(held_out())
    assert list(contoured.paths) == [path]
    assert (contoured.dvf is None) == (path == "segmentation")
    assert bool(contoured.islands) == (path == "segmentation")


def test_the_region_of_a_run_covers_the_organs_and_their_margin():
    """60, 40, 20 mm and twice 15 make 90, 70, 50: 37, 29, 21 voxels of 2.5 mm, and 40 more, in steps of 4."""
    manifest = working_manifest(tiny_recipe().model_copy(update={"spacing_mm": 2.5}))
    points = np.array([[0.0, 0.0, 0.0], [60.0, 40.0, 20.0]])
    size = covering_size(points, manifest)
    assert size == (64, 72, 80)
    assert network_region(points, manifest.model_copy(update={"region_sizes": (size,)})).holds_all


def test_the_planned_organs_are_packed_where_they_are():
    planned = scan()
    packed = packed_organs(planned, 4)
    assert packed.roi_numbers == (1, 2, 3, 4)
    # Voxel (4, 4, 4) of the scan, at (-10 + 4, -8 + 4, -6 + 8), is the first of the box.
    assert packed.geometry.origin_mm == (-6.0, -4.0, 2.0)
    assert packed.bits.shape == (4, 10, 12)
    assert np.array_equal((packed.bits & np.uint64(2)) > 0, planned.labels[4:8, 4:14, 4:16] == 2)
    assert len(labelled_points(planned)) == 2 * 64


def test_a_plan_without_organs_is_refused():
    nothing = scan()
    nothing.labels[:] = 0
    with pytest.raises(ValueError, match="no organ"):
        packed_organs(nothing, 4)


@pytest.mark.parametrize(
    ("name", "paths"),
    [
        ("segmentation-a", ("segmentation",)),
        ("registration-b", ("registration",)),
        ("cross-stitch-b", ("segmentation", "registration")),
    ],
)
def test_a_run_becomes_a_system_with_the_paths_of_its_network(tmp_path, name, paths):
    recipe = tiny_recipe(name)
    assert paths_of(recipe.network) == paths
    network = build_network(recipe.network, recipe.classes)
    save_network(RunState(SimpleNamespace(recipe=recipe), average={}), network, tmp_path)
    first = run_system("run", tmp_path, device="cpu")
    assert first.model.provider == "torch cpu"
    contoured = first.contour(held_out())
    assert tuple(contoured.paths) == paths
    again = named_systems([f"named={tmp_path}"], device="cpu")[0]
    assert (again.name, again.identity) == ("named", first.identity)
    assert (first.unfinished, first.learned_from) == ("step 0 of 4", ())


def run_of(name, folder):
    recipe = tiny_recipe(name)
    save_network(
        RunState(SimpleNamespace(recipe=recipe), average={}), build_network(recipe.network, recipe.classes), folder
    )
    return folder


def test_hybrid_takes_the_bladder_from_the_segmentation_of_a_run(tmp_path):
    pytest.importorskip("itk", reason="elastix needs the extra 'baselines'")
    hybrids = named_systems([f"hybrid={run_of('segmentation-a', tmp_path)}"], device="cpu")
    inner = run_system("", tmp_path, device="cpu")
    assert len({slug(hybrid.name) for hybrid in hybrids}) == len(hybrids) >= 3
    hybrid = hybrids[0]
    assert hybrid.name == "Hybrid"
    assert all(inner.identity in one.identity for one in hybrids)
    case = held_out()
    expected = filled(inner.contour(case).paths["segmentation"], 1, GRID.shape)
    assert np.array_equal(hybrid.bladder(case), expected)


def test_hybrid_refuses_a_network_that_segments_nothing(tmp_path):
    with pytest.raises(ModelError, match="cannot give the bladder"):
        named_systems([f"hybrid={run_of('registration-b', tmp_path)}"], device="cpu")


def test_systems_are_found_by_their_names(tmp_path):
    names = [one.name for one in named_systems(["affine", "references"])]
    assert names[0] == "affine"
    assert {"no alignment", "rigid", "affine"} < set(names)
    with pytest.raises(ModelError, match="names no system"):
        network_system("", tmp_path)
