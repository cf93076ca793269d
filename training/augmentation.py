"""Random changes of a training patch: drawn as plain numbers first, applied as a pure function afterwards.

The numbers come from a numpy generator and can be kept; applying them runs where the patch is. Image and labels of a
side move together; gas and stool change one image and no label, so that they have no counterpart on the other side.
"""

from dataclasses import dataclass

import numpy as np
import torch

from imaging.manifest import HuWindow
from training.augmentation_intensity import (
    Gas,
    Scan,
    Stool,
    draw_gas,
    draw_scan,
    draw_stool,
    shown,
    with_gas,
    with_stool,
)
from training.augmentation_motion import Filling, Motion, draw_motions, move
from training.augmentation_settings import Augmentation
from training.patch import Patch


@dataclass(frozen=True)
class Drawn:
    """Everything that happens to one patch; the default is nothing.

    Attributes:
        motions: Deformation, filling of the bladder, rigid residual; each names its side.
        stool: Filling of the rectum.
        gas: Pockets in the rectum.
        fixed_scan: How the fixed image is shown.
        moving_scan: How the moving image is shown.
        lacking: Labels of organs that the plan shown to the network lacks.
        bladder_label: What the labels call the bladder.
        rectum_label: What they call the rectum.
    """

    motions: tuple[Motion, ...] = ()
    stool: Stool | None = None
    gas: Gas | None = None
    fixed_scan: Scan | None = None
    moving_scan: Scan | None = None
    lacking: tuple[int, ...] = ()
    bladder_label: int = 1
    rectum_label: int = 2

    @property
    def empty(self) -> bool:
        """Whether nothing happens."""
        return not (self.motions or self.stool or self.gas or self.fixed_scan or self.moving_scan or self.lacking)


def draw(settings: Augmentation, rng: np.random.Generator, *, organs: int, patches: int = 1) -> tuple[Drawn, ...]:
    """What happens to each patch of a batch, whose labels are 1 to `organs`."""
    return tuple(_draw_one(settings, rng, organs) for _ in range(patches))


def apply(patch: Patch, drawn: tuple[Drawn, ...], *, spacing_mm: float, hu_window: HuWindow) -> Patch:
    """The batch after its changes, on the device it is on; with nothing drawn it is the very same.

    A side whose labels training may not look at gets neither gas, stool nor another bladder, which its labels shape.

    Args:
        patch: Windowed images and labels, any batch.
        drawn: One for each patch of the batch, or one for all.
        spacing_mm: Isotropic.
        hu_window: How the images were windowed.

    Raises:
        ValueError: If the numbers of patches and draws differ.
    """
    count = len(patch.fixed)
    each = drawn * count if len(drawn) == 1 else drawn
    if len(each) != count:
        raise ValueError(f"{len(drawn)} draws for {count} patches")
    if all(one.empty for one in each):
        return patch
    changed: dict[str, list[torch.Tensor]] = {name: [] for name in ("fixed", "moving", "fixed_labels", "moving_labels")}
    for side, images, labels, labelled in (
        ("fixed", patch.fixed, patch.fixed_labels, patch.fixed_labelled.tolist()),
        ("moving", patch.moving, patch.moving_labels, patch.moving_labelled.tolist()),
    ):
        for number, one in enumerate(each):
            here = slice(number, number + 1)
            image, label = _changed(
                images[here], labels[here], one, side, labelled[number], spacing_mm=spacing_mm, window=hu_window
            )
            changed[side].append(image)
            changed[f"{side}_labels"].append(label)
    together = {name: torch.cat(parts) for name, parts in changed.items()}
    planned = torch.cat(
        [without(label[None], one.lacking) for label, one in zip(together["moving_labels"], each, strict=True)]
    )
    return patch._replace(planned_labels=planned, **together)


def draw_lacking(settings: Augmentation, rng: np.random.Generator, organs: int) -> tuple[int, ...]:
    """Labels of the organs that the plan lacks; draws nothing where every plan is complete."""
    if not settings.lacking_probability:
        return ()
    return tuple((1 + np.flatnonzero(rng.random(organs) < settings.lacking_probability)).tolist())


def without(labels: torch.Tensor, lacking: tuple[int, ...]) -> torch.Tensor:
    """Labels with those of some organs put to 0."""
    for label in lacking:
        labels = labels.masked_fill(labels == label, 0)
    return labels


def _draw_one(settings: Augmentation, rng: np.random.Generator, organs: int) -> Drawn:
    return Drawn(
        motions=draw_motions(settings, rng),
        stool=draw_stool(settings, rng),
        gas=draw_gas(settings, rng),
        fixed_scan=draw_scan(settings, rng),
        moving_scan=draw_scan(settings, rng),
        lacking=draw_lacking(settings, rng, organs),
        bladder_label=settings.bladder_label,
        rectum_label=settings.rectum_label,
    )


def _changed(
    image: torch.Tensor,
    labels: torch.Tensor,
    drawn: Drawn,
    side: str,
    labelled: bool,
    *,
    spacing_mm: float,
    window: HuWindow,
) -> tuple[torch.Tensor, torch.Tensor]:
    """One side of one patch: motion, then content, then the scanner."""
    motions = tuple(m for m in drawn.motions if m.side == side and (labelled or not isinstance(m, Filling)))
    if motions:
        image, labels = move(image, labels, motions, spacing_mm=spacing_mm, bladder_label=drawn.bladder_label)
    rectum = drawn.rectum_label
    if drawn.stool and drawn.stool.side == side and labelled:
        image = with_stool(image, labels, drawn.stool, spacing_mm=spacing_mm, window=window, label=rectum)
    if drawn.gas and drawn.gas.side == side and labelled:
        image = with_gas(image, labels, drawn.gas, spacing_mm=spacing_mm, window=window, label=rectum)
    scan = drawn.fixed_scan if side == "fixed" else drawn.moving_scan
    if scan:
        image = shown(image, scan, spacing_mm=spacing_mm, window=window)
    return image, labels
