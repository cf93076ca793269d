"""One virtual patient as he lies on the planning CT: every tissue as a smooth field in his own frame.

The frame is LPS millimetres with its origin midway between the femoral heads.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from imaging.arrays import FloatVoxels
from imaging.geometry import VolumeGeometry
from phantom import bones, shapes
from phantom.body import draw_body
from phantom.organs import Organs, draw_organs
from phantom.statistics import PatientTraits, draw_patient

WIDE = VolumeGeometry((121, 121, 179), (-222.5, -165.0, -125.0), (2.5, 2.5, 2.5))
"""Grid of body, muscles and bones."""

CLOSE = VolumeGeometry((132, 122, 114), (-90.4, -108.0, -86.0), (1.6, 1.6, 1.6))
"""Grid of the organs."""

WIDE_TISSUES = ("outline", "fascia", "muscle", "vessel", "cord", "pelvis", "femur")
CLOSE_TISSUES = ("bladder", "prostate", "vesicles", "tube", "bulb", "loops")

PTV_MARGIN_MM = 7.0


@dataclass(frozen=True, eq=False)
class Anatomy:
    """The planning anatomy.

    Attributes:
        traits: What the patient was drawn from.
        wide: (z, y, x, tissue) fields on `WIDE`, in the order of `WIDE_TISSUES`.
        close: (z, y, x, tissue) fields on `CLOSE`, in the order of `CLOSE_TISSUES`.
        regions: Fields of the regions of interest by TG-263 name, on `CLOSE`, or on `WIDE` for femoral heads and BODY.
        organs: Landmarks and fields of the organs.
        bone: Distance to the nearest bone on `WIDE`.
    """

    traits: PatientTraits
    wide: FloatVoxels
    close: FloatVoxels
    regions: dict[str, FloatVoxels]
    organs: Organs
    bone: FloatVoxels


def draw_anatomy(seed: int) -> Anatomy:
    """The planning anatomy of the patient of that seed."""
    rng = np.random.default_rng([seed, 1])
    traits = draw_patient(rng)
    scale = np.array(traits.scale)
    body = draw_body(rng, WIDE, scale=scale, girth=traits.girth, fat_mm=traits.fat_mm)
    pelvis = bones.draw_pelvis(WIDE, scale) + 0.5 * shapes.smooth_noise(rng, WIDE, length_mm=18)
    femur = bones.draw_femurs(WIDE, scale)
    femur = np.maximum(femur, 2.0 - pelvis)
    bone = np.minimum(pelvis, femur).astype(np.float32)
    muscle = np.minimum(body.muscle, bones.draw_joints(WIDE, scale))
    x, y, z = np.meshgrid(*(CLOSE.axis_mm(a) for a in "xyz"), indexing="ij")
    points = np.stack([a.transpose(2, 1, 0) for a in (x, y, z)], axis=-1)
    near_bone = shapes.sample(bone, WIDE, points).astype(np.float32)
    organs = draw_organs(rng, CLOSE, traits, bone=near_bone)
    wide = np.stack([body.outline, body.fascia, muscle, body.vessel, body.cord, pelvis, femur], axis=-1)
    close = np.stack(
        [organs.bladder, organs.prostate, organs.vesicles, organs.bowel_tube, organs.bulb, organs.loops], axis=-1
    )
    target = np.minimum(organs.prostate, organs.vesicles)
    regions = {
        "Bladder": organs.bladder,
        "Rectum": organs.rectum,
        "SeminalVes": organs.vesicles,
        "Prostate": organs.prostate,
        "PenileBulb": organs.bulb,
        "Femur_Head_L": bones.draw_femoral_head(WIDE, scale, 1),
        "Femur_Head_R": bones.draw_femoral_head(WIDE, scale, -1),
        "CTV": target,
        "PTV": grown(target, CLOSE, PTV_MARGIN_MM),
        "BODY": body.outline,
    }
    return Anatomy(traits, np.ascontiguousarray(wide), np.ascontiguousarray(close), regions, organs, bone)


def grown(field: FloatVoxels, geometry: VolumeGeometry, margin_mm: float) -> FloatVoxels:
    """The shape with a margin, by true Euclidean distance; exact to about a third of a voxel."""
    outside = ndimage.distance_transform_edt(field > 0, sampling=geometry.spacing_mm[::-1])
    half = 0.5 * geometry.spacing_mm[0]
    near = np.where(outside > 0, outside - half, np.minimum(field, -half) + half)
    smooth: FloatVoxels = ndimage.gaussian_filter(near, 1.0).astype(np.float32)
    return smooth - np.float32(margin_mm)
