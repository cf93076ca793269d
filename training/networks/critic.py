"""The critic of JRS-GAN: it scores, place by place, how well a moving image and its contours lie on the fixed image.

A PatchGAN (Isola et al., CVPR 2017) in three dimensions on the triple of Elmahdy et al., MICCAI 2019: fixed image,
moving image, segmentation. The paper's layers could not be found; these are ours.
"""

from itertools import pairwise

from torch import Tensor, nn

SLOPE = 0.2
"""Of the leaky ReLU, as in the generator."""

IMAGES = 2
"""Fixed and moving; the organs follow."""


class PatchCritic(nn.Module):
    """Strided 3^3 convolutions with LeakyReLU 0.2, then a 3^3 convolution to one score per place.

    Without normalisation: the gradient penalty bounds the slope of the score of one example, and batch normalisation
    makes that score depend on the others of the batch (Gulrajani et al., NeurIPS 2017). A batch here is 1 to 4 patches,
    too few for statistics of aligned and of warped examples to agree anyway, so clipped weights go without it as well.

    Layer k has stride 2 and adds two voxels of 2^(k-1) to what it sees: 3, 7, 15, 31 voxels after 1, 2, 3, 4 layers.
    The last convolution adds two of 2^n. A score of a critic with n strided layers sees 4 * 2^n - 1 voxels per axis
    (n = 3: 31), centred on input voxel 2^n * i.

    Args:
        organs: Channels of the segmentation; the background is what they leave and has none.
        widths: Channels of the strided layers.
    """

    def __init__(self, organs: int, *, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.receptive_field = 4 * 2 ** len(widths) - 1
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((IMAGES + organs, *widths)):
            layers += [nn.Conv3d(inputs, outputs, 3, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
        self.layers = nn.Sequential(*layers, nn.Conv3d(widths[-1], 1, 3, padding=1))
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                # The generator's N(0, 0.02) would start the slope far below 1; nothing normalises it here.
                nn.init.kaiming_normal_(module.weight, a=SLOPE)
                nn.init.zeros_(module.bias)

    def forward(self, triple: Tensor) -> Tensor:
        """Score a batch of triples.

        Args:
            triple: (batch, 2 + organs, z, y, x): fixed and moving image, windowed, and the organs from 0 to 1.

        Returns:
            (batch, 1, z', y', x') scores without bounds, larger where the triple looks aligned; n voxels give
            n / 2^len(widths), rounded up at every halving.
        """
        scores: Tensor = self.layers(triple)
        return scores
