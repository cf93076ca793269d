import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from imaging.alignment import AlignmentLimits, align, align_with_report
from imaging.errors import RegistrationRejected
from imaging.geometry import VolumeGeometry
from imaging.transforms import AffineTransform, Deformation
from imaging.volume import Volume
from tests.imaging.registration_cases import GRID, rendered

BODY = np.array([[x, y, z] for x in (-80.0, 80.0) for y in (-50.0, 50.0) for z in (-30.0, 30.0)])


def moved(*, degrees: float = 0.0, shift: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> AffineTransform:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", [0.3 * degrees, -0.4 * degrees, degrees], degrees=True).as_matrix()
    matrix[:3, 3] = shift
    return AffineTransform(matrix)


def scan(to_plan: AffineTransform, *, noise: int = 5) -> Volume:
    return rendered(Deformation(to_plan), organ_hu=20.0, noise=np.random.default_rng(noise))


@pytest.fixture(scope="module")
def planning() -> Volume:
    return scan(AffineTransform.identity(), noise=6)


def error_mm(found: AffineTransform, truth: AffineTransform) -> float:
    return float(np.linalg.norm(found.to_moving(BODY) - truth.to_moving(BODY), axis=1).max())


@pytest.mark.parametrize(
    "truth", [moved(), moved(degrees=5.0, shift=(8.0, -6.0, 5.0)), moved(shift=(-15.0, 12.0, 10.0))]
)
def test_a_known_setup_error_is_found_within_a_millimetre(planning: Volume, truth: AffineTransform) -> None:
    assert error_mm(align(fixed=scan(truth), moving=planning), truth) < 1.0


def test_scans_of_unrelated_frames_of_reference_find_each_other(planning: Volume) -> None:
    daily = scan(moved(degrees=2.0))
    x, y, z = GRID.origin_mm
    elsewhere = Volume(daily.hu.copy(), VolumeGeometry(GRID.shape, (x + 400.0, y - 90.0, z + 1200.0), GRID.spacing_mm))
    back = np.eye(4)
    back[:3, 3] = -400.0, 90.0, -1200.0
    truth = AffineTransform(moved(degrees=2.0).matrix @ back)
    found, report = align_with_report(fixed=elsewhere, moving=planning)
    points = BODY + np.array([400.0, -90.0, 1200.0])
    assert np.linalg.norm(found.to_moving(points) - truth.to_moving(points), axis=1).max() < 1.0
    assert report.translation_mm < 20


def test_a_short_daily_scan_finds_its_place_in_the_plan(planning: Volume) -> None:
    truth = moved(degrees=2.0, shift=(4.0, 3.0, -2.0))
    part = scan(truth)
    short = Volume(part.hu[12:26].copy(), GRID.cropped((12, 0, 0), (26, 60, 76)))
    assert error_mm(align(fixed=short, moving=planning), truth) < 2.0


@pytest.mark.parametrize("seed", range(4))
def test_a_patient_who_lies_as_planned_is_never_refused_over_noise(seed: int) -> None:
    still = AffineTransform.identity()
    found, report = align_with_report(fixed=scan(still, noise=seed), moving=scan(still, noise=100 + seed))
    assert error_mm(found, still) < 0.1
    assert report.correlation >= report.correlation_of_identity


def test_an_affine_that_correlates_far_worse_than_none_is_refused(
    planning: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    astray = moved(shift=(6.0, 0.0, 0.0)).matrix
    monkeypatch.setattr("imaging.alignment.gauss_newton", lambda *_, **__: astray)
    monkeypatch.setattr("imaging.alignment.affine_by_simpleitk", lambda **_: astray)
    with pytest.raises(RegistrationRejected, match="correlation fell"):
        align(fixed=scan(AffineTransform.identity()), moving=planning)


def test_a_plan_of_three_slices_is_refused_with_the_numbers_although_simpleitk_gives_up(planning: Volume) -> None:
    thin = Volume(planning.hu[12:15].copy(), GRID.cropped((12, 0, 0), (15, 60, 76)))
    with pytest.raises(RegistrationRejected) as caught:
        align(fixed=scan(moved(degrees=1.0)), moving=thin)
    assert {"overlap", "correlation", "seen"} <= set(caught.value.facts)


def test_where_simpleitk_finds_no_common_place_the_first_numbers_are_told(
    planning: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gives_up(**_: object) -> None:
        raise RuntimeError("all samples map outside")

    monkeypatch.setattr("imaging.alignment.affine_by_simpleitk", gives_up)
    with pytest.raises(RegistrationRejected, match="rotation is 6"):
        align(fixed=scan(moved(degrees=6.0)), moving=planning, limits=AlignmentLimits(rotation_deg=4.0))


def test_the_same_scans_give_the_same_matrix_again(planning: Volume) -> None:
    daily = scan(moved(degrees=3.0, shift=(5.0, 0.0, 2.0)))
    first, second = (align(fixed=daily, moving=planning).matrix for _ in range(2))
    assert np.array_equal(first, second)


def test_a_scan_without_a_body_is_refused(planning: Volume) -> None:
    air = Volume(np.full(GRID.shape, -1000, np.int16), GRID)
    with pytest.raises(RegistrationRejected, match="No body"):
        align(fixed=air, moving=planning)


def test_another_body_is_refused_with_the_numbers(planning: Volume) -> None:
    _, j, i = np.indices(GRID.shape)
    noise = np.random.default_rng(8).normal(0, 200, GRID.shape)
    stripes = np.where((i - 38) ** 2 + (j - 30) ** 2 < 14**2, 300.0 * ((i // 3) % 2) + noise, -1000)
    with pytest.raises(RegistrationRejected) as caught:
        align(fixed=Volume(stripes.astype(np.int16), GRID), moving=planning)
    assert {"overlap", "correlation", "scale"} <= set(caught.value.facts)


def test_a_rotation_beyond_the_limit_is_refused_and_named(planning: Volume) -> None:
    daily = scan(moved(degrees=6.0))
    with pytest.raises(RegistrationRejected, match="rotation is 6"):
        align(fixed=daily, moving=planning, limits=AlignmentLimits(rotation_deg=4.0))
