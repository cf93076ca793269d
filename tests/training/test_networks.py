# ruff: noqa: E402 - nothing below the first lines can be imported without torch
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra 'training'")

from torch import nn
from torch.nn import functional as F

from training.networks import LEVELS, parameter_count
from training.networks.blocks import Block, Up, doubling_kernel
from training.networks.build import build_network
from training.networks.cross_stitch import CrossStitch
from training.recipe import RECIPES, read_recipe

from .tiny import tiny_recipe

PARAMETERS = {
    "segmentation-a": 779_436,
    "registration-a": 779_733,
    "registration-b": 780_354,
    "jrs-registration-a": 779_733,
    "jrs-registration-b": 780_354,
    "dense": 781_164,
    "cross-stitch-b": 779_576,
    # A further input channel adds 27 weights to each of the 23 or 16 filters of the first layer.
    "segmentation-b": 779_436 + 27 * 23,
    "segmentation-c": 779_436 + 2 * 27 * 23,
    "cross-stitch-a": 779_576 - 27 * 16,
    "cross-stitch-c": 779_576 + 27 * 16,
}


def network_of(system, **changes):
    recipe = read_recipe(RECIPES / f"{system}.toml")
    return build_network(recipe.network.model_copy(update=changes), recipe.classes)


@pytest.mark.parametrize(("system", "count"), PARAMETERS.items())
def test_a_network_has_the_papers_number_of_parameters(system, count):
    assert parameter_count(network_of(system)) == count


def test_the_two_paths_of_the_cross_stitch_network_have_the_papers_share_each():
    network = network_of("cross-stitch-b")
    assert [parameter_count(path) for path in (network.segmentation, network.registration)] == [389_183, 389_817]


def test_shared_encoder_and_two_decoders_add_up():
    """A block of i to o channels: 27 i o weights, o biases, 2 o of the normalisation; a head of i to o: i o + o."""

    def block(i, o):
        return 27 * i * o + 3 * o

    encoder = block(3, 16) + block(16, 16) + block(16, 16) + block(16, 32) + block(32, 32)
    coarse = block(32, 32) + block(32, 64) + block(64, 64)
    fine = block(96, 32) + block(32, 32) + block(48, 16) + block(16, 16)
    heads = sum(width * outputs + outputs for width in (64, 32, 16) for outputs in (5, 3))
    assert parameter_count(network_of("sedd")) == encoder + 2 * (coarse + fine) + heads


@pytest.mark.parametrize(
    ("system", "size"),
    [("cross-stitch-b", (96, 96, 96)), *((system, (44, 48, 60)) for system in (*PARAMETERS, "sedd"))],
)
def test_three_outputs_have_the_papers_sizes(system, size):
    """For 96 they are 56, 30 and 17."""
    recipe = tiny_recipe(system)
    network = build_network(recipe.network, recipe.classes).eval()
    with torch.no_grad():
        outputs = network(*torch.zeros(3, 1, 1, *size))
    for output, offset, divisor in zip(outputs, (40, 18, 7), (1, 2, 4), strict=True):
        wanted = tuple(n // divisor - offset for n in size)
        assert (output.logits is not None) == recipe.network.segments
        assert (output.dvf is not None) == recipe.network.registers
        assert output.logits is None or output.logits.shape == (1, 5, *wanted)
        assert output.dvf is None or output.dvf.shape == (1, 3, *wanted)


@pytest.mark.parametrize(
    ("system", "seen"),
    [
        ("segmentation-a", "f"), ("segmentation-b", "fs"), ("segmentation-c", "fms"), ("registration-a", "fm"),
        ("registration-b", "fms"), ("dense", "fms"), ("cross-stitch-a", "fm"), ("cross-stitch-b", "fms"),
    ],
)  # fmt: skip
def test_a_network_sees_the_inputs_that_its_recipe_names_and_no_other(system, seen):
    torch.manual_seed(0)
    recipe = tiny_recipe(system)
    network = build_network(recipe.network, recipe.classes).eval()
    inputs = [torch.randn(1, 1, 44, 44, 44, requires_grad=True) for _ in range(3)]
    high = network(*inputs)[0]
    sum(part.square().sum() for part in high if part is not None).backward()
    assert [one.grad is not None and bool(one.grad.any()) for one in inputs] == [letter in seen for letter in "fms"]


def test_the_segmentation_path_of_the_published_network_does_not_see_the_plan_before_the_first_unit():
    network = network_of("cross-stitch-b")
    assert network.segmentation_inputs == ("fixed",)


def test_a_block_normalises_after_its_activation():
    convolution, activation, norm = Block(1, 2)
    assert isinstance(convolution, nn.Conv3d)
    assert activation.negative_slope == 0.2
    assert (norm.momentum, norm.eps) == (0.1, 1e-3)


def test_convolutions_and_stitches_start_as_the_paper_says():
    torch.manual_seed(0)
    network = network_of("cross-stitch-b")
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv3d)]
    weights = torch.cat([m.weight.flatten() for m in convolutions])
    assert weights.std().item() == pytest.approx(0.02, rel=0.01)
    assert all(m.bias.abs().max() == 0 for m in convolutions)
    alphas = torch.cat([m.alpha.flatten() for m in network.modules() if isinstance(m, CrossStitch)])
    assert len(alphas) == 576
    assert 0 <= alphas.min() < alphas.max() <= 1
    assert alphas.mean().item() == pytest.approx(0.5, abs=0.03)


def test_a_stitch_mixes_channel_by_channel():
    stitch = CrossStitch(2)
    with torch.no_grad():
        stitch.alpha.copy_(torch.tensor([[[1.0, 0.5], [0.0, 0.25]], [[2.0, 0.0], [3.0, 1.0]]]))
    segmentation = torch.tensor([10.0, 20.0]).view(1, 2, 1, 1, 1)
    registration = torch.tensor([1.0, 4.0]).view(1, 2, 1, 1, 1)
    mixed = stitch(segmentation, registration)
    assert mixed[0].flatten().tolist() == [10.0, 11.0]
    assert mixed[1].flatten().tolist() == [23.0, 4.0]


def test_stitching_before_the_nearest_upsampling_is_the_same_function():
    torch.manual_seed(0)
    stitch = CrossStitch(3)
    maps = torch.randn(2, 1, 3, 4, 5, 6)
    before = [F.interpolate(x, scale_factor=2.0, mode="nearest") for x in stitch(*maps)]
    after = stitch(*(F.interpolate(x, scale_factor=2.0, mode="nearest") for x in maps))
    for one, other in zip(before, after, strict=True):
        assert torch.equal(one, other)


def test_a_doubled_map_that_is_never_made_gives_what_a_made_one_gives():
    torch.manual_seed(0)
    up = Up(3, 2, border=1).double().eval()
    coarse, skip = torch.randn(1, 3, 4, 5, 6).double(), torch.randn(1, 2, 10, 12, 14).double()
    written_out = torch.cat(
        [F.interpolate(coarse, scale_factor=2.0, mode="nearest"), skip[..., 1:-1, 1:-1, 1:-1]], dim=1
    )
    for block in up:
        written_out = block(written_out)
    assert torch.allclose(up(coarse, skip), written_out, rtol=0, atol=1e-12)


def test_the_first_convolution_of_a_doubled_map_learns_as_if_it_were_made():
    torch.manual_seed(0)
    weight = torch.randn(2, 3, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    coarse = torch.randn(1, 3, 4, 4, 4, dtype=torch.float64)
    made = F.conv3d(F.interpolate(coarse, scale_factor=2.0, mode="nearest"), weight)
    never_made = F.conv_transpose3d(coarse, doubling_kernel(weight), stride=2, padding=2)
    ways = [torch.autograd.grad(result.square().sum(), weight)[0] for result in (made, never_made)]
    assert torch.allclose(*ways)


def test_an_output_voxel_of_the_lowest_level_is_centred_where_the_level_says():
    """A shift between image and contour of three voxels would come from one-sided padding."""
    network = network_of("cross-stitch-b", widths=(1, 1, 1)).eval()
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.ones_(module.weight)
    image = torch.ones(1, 1, 60, 60, 60, requires_grad=True)
    low = network(image, image.detach(), image.detach())[2].logits  # 8 voxels per axis
    low[0, 0, 3, 4, 4].backward()
    weight = image.grad[0, 0].sum(dim=(1, 2))
    centre = (weight * torch.arange(60)).sum() / weight.sum()
    level = LEVELS[2]
    assert centre.item() == pytest.approx(level.stride * 3 + level.border, abs=1e-3)
    assert int((weight > 0).sum()) == 35
