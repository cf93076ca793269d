"""What a patient and a day are drawn from: published figures, and where there are none, our assumptions.

Sources, quoted from memory of the literature unless marked otherwise:
- Prostate volume 20-80 cc in radiotherapy cohorts, log-normal around 40 cc.
- Bladder volume on planning CT 70-500 cc, daily variation of 30-50 % of the volume (Pinkawa 2006, Ahmad 2008).
- Rectum volume 40-120 cc anal verge to rectosigmoid; cross-section varies by 10-25 % between days (Stroom 1999).
- Prostate motion relative to bone, SD 2-4 mm AP and SI and 1-2 mm LR, AP driven by rectal filling (van Herk 1995,
  Byrne 2005 review).
- Seminal vesicles 4-15 cc together; they move more than the prostate (Frank 2008).
- Set-up SD 2-5 mm before correction (Hurkmans 2001).
- Femoral head diameter 48 +- 3 mm in men; inter-hip-centre distance 175 +- 10 mm (anthropometry).
- Subcutaneous fat 10-35 mm, body size: chosen by eye against one public planning CT (Craft 2014, shapes only).
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PatientTraits:
    """What makes one patient different from another, on the planning day. Lengths in mm, volumes in cc."""

    scale: tuple[float, float, float]
    girth: float
    fat_mm: float
    prostate_cc: float
    bladder_cc: float
    vesicle_mm: float
    rectum_mm: float
    rectum_side_mm: float
    bone_hu: float
    marrow_hu: float
    muscle_hu: float
    prostate_hu: float
    urine_hu: float
    fat_hu: float
    vessel_hu: float
    has_calcifications: bool


def draw_patient(rng: np.random.Generator) -> PatientTraits:
    """A patient at random."""
    size = rng.normal(1.0, 0.03)
    muscle = float(np.clip(rng.normal(55, 4), 46, 64))
    return PatientTraits(
        scale=(
            float(np.clip(size + rng.normal(0, 0.015), 0.92, 1.08)),
            float(np.clip(size + rng.normal(0, 0.02), 0.92, 1.08)),
            float(np.clip(size + rng.normal(0, 0.02), 0.92, 1.08)),
        ),
        girth=float(np.clip(rng.normal(1.0, 0.06), 0.9, 1.12)),
        fat_mm=float(np.clip(np.exp(rng.normal(np.log(19), 0.3)), 9, 36)),
        prostate_cc=float(np.clip(np.exp(rng.normal(np.log(40), 0.35)), 22, 78)),
        bladder_cc=float(np.clip(np.exp(rng.normal(np.log(190), 0.4)), 90, 420)),
        vesicle_mm=float(np.clip(rng.normal(6.2, 0.7), 4.8, 7.8)),
        rectum_mm=float(np.clip(rng.normal(13.6, 1.6), 11, 18)),
        rectum_side_mm=float(np.clip(rng.normal(0, 6), -12, 12)),
        bone_hu=float(np.clip(rng.normal(900, 120), 650, 1200)),
        marrow_hu=float(np.clip(rng.normal(140, 40), 60, 240)),
        muscle_hu=muscle,
        prostate_hu=muscle - float(np.clip(rng.normal(10, 2.5), 5, 15)),
        urine_hu=float(np.clip(rng.normal(5, 3), 0, 11)),
        fat_hu=float(np.clip(rng.normal(-104, 4), -115, -92)),
        vessel_hu=float(np.clip(rng.normal(45, 6), 34, 60)),
        has_calcifications=bool(rng.random() < 0.3),
    )
