# ruff: noqa: E402 - nothing below the first lines can be imported without torch
import math

import numpy as np
import pytest
from pydantic import ValidationError

torch = pytest.importorskip("torch", reason="training needs the extra 'training'")

from imaging.manifest import HuWindow
from training.augmentation import Drawn, apply, draw
from training.augmentation_intensity import Gas, Pocket, Scan, Stool
from training.augmentation_motion import Deformation, Filling, Rigid, bspline_field, control_counts, filling_scale
from training.augmentation_settings import Augmentation

from .patches import fully_labelled

SIZE = 40
SPACING_MM = 2.0
WINDOW = HuWindow(lower=-160, upper=240, divisor=200)
EVERYTHING = Augmentation(
    offset_hu_sd=5,
    gain_sd=0.05,
    gamma_log_sd=0.1,
    noise_probability=1,
    blur_probability=1,
    gas_probability=1,
    stool_probability=1,
    deformation_probability=1,
    bladder_probability=1,
    rigid_probability=1,
)


def ball(centre, radius):
    """(z, y, x) mask; centre and radius in voxels."""
    axes = torch.meshgrid(*[torch.arange(float(SIZE))] * 3, indexing="ij")
    return sum((axis - middle) ** 2 for axis, middle in zip(axes, centre, strict=True)) <= radius**2


def anatomy(batch=1):
    """Bladder (10 HU) and rectum (40 HU) as balls in fat (-90 HU), on both sides."""
    labels = torch.zeros(SIZE, SIZE, SIZE, dtype=torch.uint8)
    labels[ball((19.5, 13, 19.5), 8)] = 1
    labels[ball((19.5, 31, 19.5), 6)] = 2
    hu = torch.tensor([-90.0, 10.0, 40.0])[labels.long()]
    image = (hu / WINDOW.divisor).expand(batch, 1, -1, -1, -1).clone()
    labels = labels.expand(batch, 1, -1, -1, -1).clone()
    return fully_labelled(image, image.clone(), labels, labels.clone())


def change(patch, *drawn):
    return apply(patch, drawn, spacing_mm=SPACING_MM, hu_window=WINDOW)


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def shares_side(before, after, side):
    names = (side, f"{side}_labels")
    return all(torch.equal(getattr(before, name), getattr(after, name)) for name in names)


def test_everything_is_off_by_default_and_leaves_every_bit():
    patch = anatomy(2)
    drawn = draw(Augmentation(), np.random.default_rng(0), organs=2, patches=2)
    assert all(one.empty for one in drawn)
    assert same(change(patch, *drawn), patch)


def test_the_same_generator_gives_the_same_patch_and_the_next_draw_another():
    patch = anatomy()
    first, again, other = (
        change(patch, *draw(EVERYTHING, rng, organs=2)) for rng in (np.random.default_rng(seed) for seed in (5, 5, 6))
    )
    assert same(first, again)
    assert not same(first, other)
    assert same(patch, anatomy())  # nothing was written into the patch


def test_every_patch_of_a_batch_gets_its_own_changes():
    drawn = draw(EVERYTHING, np.random.default_rng(1), organs=2, patches=2)
    both = change(anatomy(2), *drawn)
    for number, one in enumerate(drawn):
        alone = change(anatomy(), one)
        assert all(torch.equal(a[number : number + 1], b) for a, b in zip(both, alone, strict=True))
    with pytest.raises(ValueError, match="2 draws for 3"):
        change(anatomy(3), *drawn)


def test_a_plan_that_lacks_an_organ_is_shown_without_it_and_learned_from_with_it():
    before = anatomy(2)
    after = change(before, Drawn(lacking=(2,)), Drawn())
    assert torch.equal(after.planned_labels[0], torch.where(before.moving_labels[0] == 2, 0, before.moving_labels[0]))
    assert torch.equal(after.planned_labels[1], before.moving_labels[1])
    assert torch.equal(after.moving_labels, before.moving_labels)


def test_the_network_is_shown_planned_organs_where_they_were_moved():
    after = change(anatomy(), Drawn(motions=(Filling("moving", 2.0),)))
    assert torch.equal(after.planned_labels, after.moving_labels)


def test_each_organ_is_lacking_as_often_as_asked_for():
    drawn = draw(Augmentation(lacking_probability=0.2), np.random.default_rng(3), patches=1000, organs=4)
    counts = [sum(label in one.lacking for one in drawn) for label in range(1, 5)]
    assert all(150 <= count <= 250 for count in counts), "each is binomial with mean 200 and standard deviation 12.6"


def test_results_keep_type_and_window():
    patch = change(anatomy(), *draw(EVERYTHING, np.random.default_rng(2), organs=2))
    assert patch.fixed.dtype == torch.float32
    assert patch.fixed_labels.dtype == torch.uint8
    for image in (patch.fixed, patch.moving):
        assert image.min().item() > -0.8 - 1e-6
        assert image.max().item() < 1.2 + 1e-6
    assert set(patch.moving_labels.unique().tolist()) == {0, 1, 2}


@pytest.mark.parametrize("volume", [0.4, 2.0, 3.0])
def test_a_bladder_filled_by_a_factor_has_that_volume_and_its_image_follows(volume):
    before = anatomy()
    after = change(before, Drawn(motions=(Filling("moving", volume),)))
    bladder = after.moving_labels == 1
    assert bladder.sum() / (before.moving_labels == 1).sum() == pytest.approx(volume, rel=0.06)
    # Deep inside urine, far outside fat: labels and image moved together.
    grown = 8 * volume ** (1 / 3)
    assert torch.allclose(after.moving[0, 0][ball((19.5, 13, 19.5), grown - 3)], torch.tensor(0.05))
    assert not bladder[0, 0][~ball((19.5, 13, 19.5), grown + 1)].any()
    assert shares_side(before, after, "fixed")


def test_filling_scales_inside_keeps_tissue_outside_and_never_folds():
    radius = torch.linspace(0.01, 8, 2000, dtype=torch.float64)
    for volume in (0.4, 1.0, 3.0):
        source = radius * filling_scale(radius, volume)
        assert (source.diff() > 0).all()
        inside = radius < volume ** (1 / 3)
        assert torch.allclose(source[inside], radius[inside] / volume ** (1 / 3))
        assert torch.allclose(radius[~inside] ** 3 - source[~inside] ** 3, torch.tensor(volume - 1).double())
    assert (8 - source[-1]).item() == pytest.approx(2 / (3 * 8**2), rel=0.01)  # falls with the square


def test_the_wall_pushes_what_lies_behind_it():
    before = anatomy()
    after = change(before, Drawn(motions=(Filling("fixed", 3.0),)))

    def front_wall(patch):
        return (patch.fixed_labels[0, 0, 19, :, 19] == 2).nonzero().min().item()

    # It lies at y = 25.5, 12.5 voxels from the centre of a ball of 8: afterwards 8 times the cube root of
    # (12.5 / 8)^3 + 2, which is 14.39, at y = 27.39.
    assert (front_wall(before), front_wall(after)) == (26, 28)


def test_a_constant_field_moves_everything_by_its_displacement():
    shape, step = (9, 10, 11), 3.5
    controls = torch.tensor([1.5, -2.0, 0.25]).view(3, 1, 1, 1).expand(3, *control_counts(shape, step))
    field = bspline_field(controls, shape, step=step)
    assert field.shape == (9, 10, 11, 3)
    assert torch.allclose(field, torch.tensor([1.5, -2.0, 0.25]).expand_as(field))


def test_controls_on_a_ramp_give_that_ramp():
    shape, step = (9, 10, 11), 3.5
    counts = control_counts(shape, step)
    controls = torch.zeros(3, *counts)
    controls[2] = ((torch.arange(counts[1]) - 1) * step).view(1, -1, 1)
    field = bspline_field(controls, shape, step=step)
    assert torch.allclose(field[..., 2], torch.arange(10.0).view(1, -1, 1).expand(shape), atol=1e-5)
    assert not field[..., :2].any()


def test_deformation_moves_image_and_labels_of_one_side_by_no_more_than_its_size():
    before = anatomy()
    ramp = torch.arange(float(SIZE)) / 100
    before.fixed[:] = ramp  # the grey value is the x coordinate
    before.fixed_labels[:] = torch.arange(SIZE).to(torch.uint8)  # and so is the label
    after = change(before, Drawn(motions=(Deformation("fixed", 6.0, 30.0, 11),)))
    moved = (100 * (after.fixed - before.fixed))[..., 4:-4]  # voxels, away from the edge that repeats
    assert moved.abs().max() <= 3.0
    assert moved.abs().max() > 0.5
    assert (100 * after.fixed - after.fixed_labels).abs().max() <= 0.5 + 1e-3
    assert shares_side(before, after, "moving")


def test_a_shift_moves_anatomy_along_its_vector():
    before = anatomy()
    after = change(before, Drawn(motions=(Rigid("moving", (4.0, -2.0, 6.0), (0.0, 0.0, 0.0)),)))
    # Two voxels along x, one back along y, three along z.
    expected = before.moving_labels.roll((3, -1, 2), (2, 3, 4))
    assert torch.equal(after.moving_labels, expected)
    assert torch.allclose(
        after.moving[..., 5:-5, 5:-5, 5:-5], before.moving.roll((3, -1, 2), (2, 3, 4))[..., 5:-5, 5:-5, 5:-5], atol=1e-5
    )


def test_a_quarter_turn_about_z_takes_x_to_y():
    before = anatomy()
    after = change(before, Drawn(motions=(Rigid("moving", (0.0, 0.0, 0.0), (0.0, 0.0, 90.0)),)))
    # The bladder lies towards -y of the centre and comes to +x.
    centre = (after.moving_labels[0, 0] == 1).nonzero().float().mean(0)
    assert centre.tolist() == pytest.approx([19.5, 19.5, 26.0], abs=0.05)


def test_gas_changes_one_image_inside_the_rectum_and_no_label():
    before = anatomy()
    gas = Gas("moving", -800.0, (Pocket(0.5, (6.0, 6.0, 6.0)),))
    after = change(before, Drawn(gas=gas))
    assert same(after[2:], before[2:])
    assert torch.equal(after.fixed, before.fixed)
    changed = after.moving != before.moving
    rectum = before.moving_labels == 2
    assert changed.any()
    assert not (changed & ~rectum).any()
    assert after.moving.min().item() == pytest.approx(-0.8)  # air is clipped at the window
    # About a ball of three voxels is air, its edge is soft.
    air = (after.moving < -0.799).sum().item()
    assert 0.5 * 113 < air < 1.6 * 113
    assert ((after.moving > -0.7) & changed).any()


def test_gas_within_a_wide_window_has_its_own_value():
    wide = HuWindow(lower=-1000, upper=1000, divisor=1000)
    patch = anatomy()
    gas = Gas("fixed", -500.0, (Pocket(0.5, (9.0, 9.0, 9.0)),))
    after = apply(patch, (Drawn(gas=gas),), spacing_mm=SPACING_MM, hu_window=wide)
    assert after.fixed.min().item() == pytest.approx(-0.5, abs=0.01)


def test_stool_fills_the_rectum_and_what_gas_it_held():
    before = anatomy()
    before.fixed[before.fixed_labels == 2] = -0.8
    after = change(before, Drawn(stool=Stool("fixed", 60.0, 0.0, 3)))
    core = ball((19.5, 31, 19.5), 2)
    assert torch.allclose(after.fixed[0, 0][core], torch.tensor(0.3))
    assert not ((after.fixed != before.fixed) & (before.fixed_labels != 2)).any()
    assert same(after[1:], before[1:])


def test_a_side_whose_labels_are_withheld_is_not_changed_by_them():
    patch = anatomy()._replace(moving_labelled=torch.tensor([False]))
    gas = Gas("moving", -800.0, (Pocket(0.5, (6.0, 6.0, 6.0)),))
    drawn = Drawn(motions=(Filling("moving", 2.0),), gas=gas, stool=Stool("moving", 60.0, 5.0, 3))
    assert same(change(patch, drawn), patch)


def test_a_patch_without_organs_is_left_alone_by_gas_and_filling():
    patch = anatomy()
    patch.moving_labels.zero_()
    drawn = Drawn(motions=(Filling("moving", 2.0),), gas=Gas("moving", -800.0, (Pocket(0.5, (6.0, 6.0, 6.0)),)))
    assert same(change(patch, drawn), patch)


def test_gain_and_offset_are_in_hu_and_clipped_air_stays_clipped():
    patch = anatomy()
    patch.fixed[..., 0] = -0.8
    after = change(patch, Drawn(fixed_scan=Scan(gain=1.1, offset_hu=4.0)))
    for before_hu, after_hu in ((-160, -160), (-90, -95), (10, 15), (40, 48)):
        where = (patch.fixed - before_hu / 200).abs() < 1e-6
        assert after.fixed[where].unique().tolist() == pytest.approx([after_hu / 200])
    assert torch.equal(after.moving, patch.moving)


def test_gamma_bends_the_window_between_its_ends():
    patch = anatomy()
    after = change(patch, Drawn(moving_scan=Scan(gamma=2.0)))
    # 40 HU is half of the window from -160 to 240; its square is a quarter: -60 HU.
    assert after.moving[patch.moving_labels == 2].unique().tolist() == pytest.approx([-0.3])


@pytest.mark.parametrize("grain_mm", [0.0, 3.0])
def test_noise_has_its_standard_deviation_whatever_its_grain(grain_mm):
    patch = anatomy()
    patch.fixed.zero_()
    noise = 200 * change(patch, Drawn(fixed_scan=Scan(noise_hu=20.0, grain_mm=grain_mm, seed=4))).fixed
    assert noise.std().item() == pytest.approx(20, rel=0.1)
    neighbours = (noise[..., 1:] * noise[..., :-1]).mean().item() / 400
    # Smoothed white noise correlates as exp(-d^2 / 4 w^2), here a distance of 2 mm.
    assert neighbours == pytest.approx(math.exp(-4 / (4 * 9)) if grain_mm else 0, abs=0.1)


def test_blur_widens_an_edge_and_keeps_the_mean():
    patch = anatomy()
    patch.fixed.zero_()
    patch.fixed[..., SIZE // 2 :] = 1.0
    line = change(patch, Drawn(fixed_scan=Scan(blur_mm=2.0))).fixed[0, 0, 5, 5]
    # One width (a voxel) beyond an edge at 19.5 voxels: normal distribution at 0.5 and -0.5 widths.
    assert line[19:21].tolist() == pytest.approx([0.3085, 0.6915], abs=0.01)
    assert line.mean().item() == pytest.approx(0.5, abs=1e-5)


def test_settings_that_may_fold_are_refused():
    assert Augmentation(deformation_mm=10.0, deformation_grid_mm=(25.0, 60.0))
    with pytest.raises(ValidationError, match="may fold"):
        Augmentation(deformation_mm=10.5, deformation_grid_mm=(25.0, 60.0))
    with pytest.raises(ValidationError, match="lower end"):
        Augmentation(bladder_volume=(3.0, 0.4))


def test_draws_stay_within_their_ranges():
    rng = np.random.default_rng(9)
    volumes, sides = [], set()
    for one in draw(EVERYTHING, rng, organs=2, patches=200):
        deformation, filling, rigid = one.motions
        assert deformation.size_mm <= 6
        assert 25 <= deformation.grid_mm <= 60
        assert max(map(abs, rigid.shift_mm)) <= 3
        assert max(map(abs, rigid.angles_deg)) <= 2
        assert -1000 <= one.gas.hu <= -300
        assert 1 <= len(one.gas.pockets) <= 3
        volumes.append(filling.volume)
        sides.add((deformation.side, filling.side, rigid.side, one.gas.side))
    assert 0.4 <= min(volumes) < 0.6
    assert 2 < max(volumes) <= 3
    assert len(sides) == 16
