"""The graph that a GPU runs takes the compiled loops' steps; here it runs on ONNX Runtime's CPU provider."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import imaging.model
from imaging.deformation import choose_deformation
from imaging.errors import ModelError, ProviderUnavailable
from imaging.geometry import VolumeGeometry
from imaging.local_fit import STRIDE, Level, LevelStart, compiled_steps
from imaging.model import STEPS_DIFFER_MM, RecontouringModel, load_model
from imaging.smoothing import smooth
from imaging.transforms import AffineTransform
from imaging.volume import Volume
from tests.imaging.registration_cases import made_up_case
from tests.manifests import manifest_with

pytest.importorskip("onnxruntime")

from imaging.backends.fit_graph import GraphSteps, difference_mm, doubling, slope, window
from imaging.backends.onnx_runtime import DEVICE_FAULTS

AGREE_MM = 1e-3


@pytest.fixture(scope="module")
def graph() -> GraphSteps:
    return GraphSteps(cuda=False)


def test_between_blocks_a_shift_is_linear_and_at_the_ends_it_is_the_last_one() -> None:
    # Voxels lie a quarter of a block before and behind the centre of theirs.
    assert doubling(5).tolist() == [[1, 0, 0], [0.75, 0.25, 0], [0.25, 0.75, 0], [0, 0.75, 0.25], [0, 0.25, 0.75]]


def test_a_slope_is_what_lies_ahead_less_what_lies_behind() -> None:
    squares = np.array([0.0, 1.0, 4.0, 9.0])
    assert (slope(4, ends=True) @ squares).tolist() == [1, 4, 8, 5]
    assert (slope(4, ends=False) @ squares).tolist() == [0, 4, 8, 0]


def test_a_window_is_the_gaussian_of_the_means_over_blocks() -> None:
    # The last block has one voxel of two.
    images = np.random.default_rng(seed=0).normal(size=(1, 8, 8, 7)).astype(np.float32)
    means = np.concatenate([images, 0 * images[..., :1]], axis=3).reshape(1, 4, 2, 4, 2, 4, 2).mean(axis=(2, 4, 6))
    found = np.einsum("cz,by,ax,nzyx->ncba", window(8, 1.3), window(8, 1.3), window(7, 1.3), images)
    assert found == pytest.approx(smooth(means, 1.3), abs=1e-5)


SHAPES = {
    "a scan as large as the region": (24, 30, 33),
    "a scan that ends inside the region": (11, 17, 16),
    "a scan of one slice": (1, 30, 33),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize("level", [Level(3.0, 8.0, steps=2, more=2), Level(1.8, 4.0, steps=3)], ids=["coarse", "fine"])
def test_the_graph_takes_the_steps_of_the_compiled_loops(
    graph: GraphSteps, shape: tuple[int, int, int], level: Level
) -> None:
    rng = np.random.default_rng(seed=1)
    # As far from the origin as a treatment couch may stand.
    grid = VolumeGeometry((24, 31, 34), (460.0, -550.0, 1470.0), (level.spacing_mm,) * 3)
    # Tissue between fat and muscle with pockets as dark as gas.
    pattern = smooth(rng.normal(0, 2500, (1, *grid.shape)).astype(np.float32), 2.0)[0]
    source = VolumeGeometry(shape, (462.0, -552.0, 1471.0), (2.1, 2.2, 2.3))
    turn, corner = np.eye(3) + rng.normal(0, 0.03, (3, 3)), np.array(grid.origin_mm)
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn, corner - turn @ corner + rng.normal(0, 1, 3)
    start = LevelStart(
        here=np.clip(pattern, -160, 240),
        grid=grid,
        source=Volume(pattern[: shape[0], : shape[1], : shape[2]].astype(np.int16), source),
        affine=AffineTransform(matrix),
        vectors=smooth(rng.normal(0, 8, (3, *grid.in_blocks(STRIDE).shape)).astype(np.float32), 1.5),
        level=level,
    )
    expected = compiled_steps(start)
    assert np.abs(expected - start.vectors).max() > 0.5
    assert graph(start) == pytest.approx(expected, abs=AGREE_MM)


def test_the_whole_refinement_ends_at_the_same_field(graph: GraphSteps) -> None:
    case = made_up_case()
    scans: dict[str, Any] = {"daily": case.daily, "planning": case.planning, "masks": case.masks}
    fields = [
        choose_deformation(**scans, affine=AffineTransform.identity(), network=None, newton_steps=steps)
        .deformation.fields[0]
        .vectors
        for steps in (None, graph)
    ]
    assert np.abs(fields[0]).max() > 2.0
    assert np.abs(fields[1] - fields[0]).max() < 0.01


def test_the_self_test_compares_steps_and_says_how_far_they_are_apart(graph: GraphSteps) -> None:
    assert difference_mm(graph) < AGREE_MM
    assert difference_mm(lambda start: compiled_steps(start) + np.float32(0.25)) == pytest.approx(0.25, abs=1e-5)


def test_a_device_whose_steps_go_elsewhere_is_refused_with_the_way_out(tmp_path: Path) -> None:
    """Hazard: a GPU that computes something else, silently."""

    def astray(start: LevelStart) -> np.ndarray:
        return compiled_steps(start) + np.float32(2 * STEPS_DIFFER_MM)

    class Gpu:
        provider = "CUDAExecutionProvider"

    model = RecontouringModel(manifest_with(), tmp_path, Gpu(), astray)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=r"differ by 0\.020 mm.*RECONTOUR_REFINEMENT_DEVICE=cpu"):
        model.self_test()


@pytest.mark.parametrize(
    ("provider", "refinement_device", "on_gpu"),
    [
        ("CUDAExecutionProvider", "auto", True),
        ("CUDAExecutionProvider", "cpu", False),
        ("OpenVINO CPU bf16", "auto", False),
    ],
)
def test_the_steps_run_on_the_gpu_where_the_network_does(
    monkeypatch: pytest.MonkeyPatch, provider: str, refinement_device: Any, on_gpu: bool
) -> None:
    class Anywhere:
        pass

    backend: Any = Anywhere()
    backend.provider = provider
    monkeypatch.setattr(imaging.model, "_backend", lambda *_: backend)
    monkeypatch.setattr(imaging.model, "_steps_on_gpu", lambda *_: compiled_steps)
    folder = next((Path(__file__).parents[2] / "models").glob("*/*/"))
    model = load_model(folder, refinement_device=refinement_device)
    assert (model.newton_steps is compiled_steps) == on_gpu


@pytest.mark.parametrize("fault", [DEVICE_FAULTS[0], RuntimeError, MemoryError])
@pytest.mark.parametrize("at", ["on_device", "run", "numpy"])
def test_a_device_lost_between_two_steps_is_named_so(
    monkeypatch: pytest.MonkeyPatch, fault: type[Exception], at: str
) -> None:
    """Copies to a GPU and back raise Python's own errors, a run those of ONNX Runtime."""

    def lose(*_: object) -> None:
        raise fault("somebody's data")

    class LostArray:
        numpy = lose

    class Lost:
        def io_binding(self) -> "Lost":
            return self

        def bind_ortvalue_input(self, *_: object) -> None: ...

        def bind_output(self, *_: object) -> None: ...

        def run_with_iobinding(self, _: object) -> None:
            if at == "run":
                lose()

        def get_outputs(self) -> list[LostArray]:
            return [LostArray()]

    steps = GraphSteps(cuda=False)
    monkeypatch.setattr(steps, "_session", Lost())
    if at == "on_device":
        monkeypatch.setattr("imaging.backends.fit_graph.on_device", lose)
    with pytest.raises(ProviderUnavailable, match="RECONTOUR_REFINEMENT_DEVICE=cpu") as refusal:
        difference_mm(steps)
    assert "somebody" not in str(refusal.value)


def test_a_gpu_that_cannot_hold_the_steps_is_done_without_only_where_nobody_asked_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(**_: object) -> None:
        raise ProviderUnavailable("no room")

    monkeypatch.setattr("imaging.backends.fit_graph.GraphSteps", refuse)
    assert imaging.model._steps_on_gpu("auto", 0) is None
    with pytest.raises(ProviderUnavailable, match="no room"):
        imaging.model._steps_on_gpu("cuda", 0)
