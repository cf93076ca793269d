# ruff: noqa: E402 - nothing below the first lines can be imported without torch
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra 'training'")

from torch import nn
from torch.nn import functional as F

from training.networks import LEVELS, PAPER_PARAMETERS, Block, CrossStitch, CrossStitchNetwork, parameter_count


def test_the_network_has_the_papers_number_of_parameters():
    network = CrossStitchNetwork()
    assert PAPER_PARAMETERS == 779_576
    assert parameter_count(network) == PAPER_PARAMETERS
    assert [parameter_count(path) for path in (network.segmentation, network.registration)] == [389_183, 389_817]


@pytest.mark.parametrize(("size", "expected"), [((96, 96, 96), (56, 30, 17)), ((44, 48, 60), None)])
def test_three_outputs_have_the_papers_sizes(size, expected):
    network = CrossStitchNetwork(widths=(2, 3, 4)).eval()
    with torch.no_grad():
        outputs = network(*torch.zeros(3, 1, 1, *size))
    for output, offset, divisor in zip(outputs, (40, 18, 7), (1, 2, 4), strict=True):
        wanted = tuple(n // divisor - offset for n in size)
        assert output.logits.shape == (1, 5, *wanted)
        assert output.dvf.shape == (1, 3, *wanted)
    if expected:
        assert tuple(output.dvf.shape[-1] for output in outputs) == expected


def test_a_block_normalises_after_its_activation():
    convolution, activation, norm = Block(1, 2)
    assert isinstance(convolution, nn.Conv3d)
    assert activation.negative_slope == 0.2
    assert (norm.momentum, norm.eps) == (0.1, 1e-3)


def test_convolutions_and_stitches_start_as_the_paper_says():
    torch.manual_seed(0)
    network = CrossStitchNetwork()
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


def test_an_output_voxel_of_the_lowest_level_is_centred_where_the_level_says():
    """A shift between image and contour of three voxels would come from one-sided padding."""
    network = CrossStitchNetwork(widths=(1, 1, 1)).eval()
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
