"""What a patient and a day are drawn from: published figures, and where there are none, our assumptions.

No figure below was fitted to patients of our own. Each distribution here and in `clinic.py` is our choice; what follows
is what it was held against. [A]: the number stands in the abstract, which was read. [M]: the number is from memory.

Published:
- Bladder, change between days, as SD: 106 cc with a full and 47 cc with an empty bladder, 30 patients with 3 CTs each.
  Pinkawa et al., Int J Radiat Oncol Biol Phys 64 (2006) 856-861 [A]. Ours, at the median of 190 cc: 0.24 x 190 = 46 cc
  at clinic A; 156 cc over the patients of clinic B, after clipping to 70-500 cc: harder than published, on purpose.
- Bladder on the planning CT: 184-757 ml, mean 373, SD 160, 17 patients told to drink. Cramp et al., J Med Radiat Sci 63
  (2016) 179-185 [A]. Ours is smaller (90-420 cc), as where nobody is told to drink: an assumption.
- Prostate with vesicles against bone, supine, along AP, SD: 2.6 mm between patients, 2.4 mm from day to day; rotation
  about the left-right axis 3.7 and 3.0 degrees. Stroom et al., Radiother Oncol 51 (1999) 237-248 [A].
- The same, SD: 0.9 mm LR, 2.7 mm AP, 1.7 mm SI. van Herk et al., Int J Radiat Oncol Biol Phys 33 (1995) 1311-1320 [M];
  the review of Langen and Jones, Int J Radiat Oncol Biol Phys 50 (2001) 265-278, gives a range around it [M].
- The rectum drives AP: within 35 minutes the change of its cross-section correlates with AP motion by r = 0.82, its
  volume on the planning CT by -0.19, 26 patients. Mangar et al., Trends Med Res 1 (2006) 55-65 [A].
- Seminal vesicles against the prostate, SD (LR, AP, SI): 1.9, 2.9, 3.6 mm between patients, 1.4, 2.7, 2.1 mm from day
  to day, 771 CTs of 24 patients. Radiat Oncol 7 (2012) 139 [A]. That they move more than the prostate is also in Frank
  et al., Int J Radiat Oncol Biol Phys 71 (2008) 813-820 [M].
- Set-up before correction, prostate, SD: 1.0-3.8 mm between patients, 1.2-3.5 mm from day to day. Hurkmans et al.,
  Radiother Oncol 58 (2001) 105-120 [A]; both kinds together are 1.6-5.2 mm. Ours: 3-5 mm per axis.

Our assumptions, plausible to people who know CTs and without a source that we could name:
- Volumes: prostate 22-78 cc, log-normal around 40; vesicles 4-15 cc; rectum 40-120 cc.
- Rectum: SD of 15 and 20 % of its local diameter from day to day.
- Femoral head 48 mm, hip centres 176 mm apart (`bones.py`), their spread of 3 %.
- Hounsfield units of every tissue, and how often there are calcifications.
- Subcutaneous fat and body size: by eye, against one public planning CT (Craft et al., GigaScience 3 (2014) 37; shapes
  only).
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
