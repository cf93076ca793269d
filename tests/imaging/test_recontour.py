"""The way of the data as a whole, with a network that answers what the test says."""

from dataclasses import dataclass

import numpy as np
import pytest

from imaging.case import Case, RecontourOptions
from imaging.findings import Verdict
from imaging.manifest import ModelManifest
from imaging.model import Prediction, RecontouringModel
from imaging.plausibility_limits import PlausibilityLimits
from imaging.preprocessing import ModelInputs, output_geometry
from imaging.recontour import recontour
from imaging.structures import Contour, Roi, StructureSet
from imaging.timing import Stopwatch
from imaging.transforms import DisplacementField
from tests.imaging.registration_cases import GRID, made_up_case
from tests.manifests import manifest_with


@dataclass(frozen=True, eq=False)
class SaysBladder(RecontouringModel):
    """Bladder in the middle of its region, up to `rim` voxels from its border."""

    rim: int = 0

    def run(self, inputs: ModelInputs) -> Prediction:
        grid = output_geometry(inputs.region, self.manifest)
        bladder = np.zeros(grid.shape, np.float32)
        bladder[tuple(slice(self.rim, n - self.rim) for n in grid.shape)] = 1.0
        still = DisplacementField(np.zeros((3, *grid.shape), np.float32), grid)
        return Prediction(np.stack([1 - bladder, bladder, 0 * bladder]), still, grid)


def planned_bladder() -> StructureSet:
    """The made-up organ as an elliptic cylinder, drawn on six slices."""
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    xy = np.stack([20 + 24 * np.cos(angle), 5 + 18 * np.sin(angle)], axis=1)
    return StructureSet((Roi(1, "Bladder", contours=tuple(Contour(z, xy.copy()) for z in GRID.axis_mm("z")[11:17])),))


@pytest.mark.parametrize(("rim", "cut"), [(0, True), (4, False)])
def test_an_organ_cut_by_the_networks_region_is_recommended_from_the_propagated_path(rim: int, cut: bool) -> None:
    made_up = made_up_case(size_mm=3.0)
    manifest: ModelManifest = manifest_with(region_sizes=((80, 96, 96),))
    result = recontour(
        Case(planning=made_up.planning, planning_structures=planned_bladder(), daily=made_up.daily),
        SaysBladder(manifest, None, None, rim=rim),  # type: ignore[arg-type]
        limits=PlausibilityLimits(volume_ratio_review=(0.01, 99), volume_ratio_fail=(0.01, 100)),
        options=RecontourOptions(refine="off"),
        stopwatch=Stopwatch(),
    )
    failed = [finding for finding in result.findings if finding.check == "segmented-truncated"]
    assert [finding.verdict for finding in failed] == [Verdict.FAIL] * cut
    assert result.rois[0].recommended_path == ("propagated" if cut else "segmented")


def test_a_segmented_organ_that_the_plan_lacks_comes_back_for_review() -> None:
    made_up = made_up_case(size_mm=3.0)
    bladder = planned_bladder().rois[0]
    result = recontour(
        Case(
            planning=made_up.planning,
            planning_structures=StructureSet((Roi(1, "Rectum", contours=bladder.contours),)),
            daily=made_up.daily,
        ),
        SaysBladder(manifest_with(region_sizes=((80, 96, 96),)), None, None, rim=4),  # type: ignore[arg-type]
        limits=PlausibilityLimits(),
        options=RecontourOptions(refine="off"),
        stopwatch=Stopwatch(),
    )
    (unplanned,) = (roi for roi in result.segmented.rois if roi.name == "Bladder")
    (finding,) = (finding for finding in result.findings if finding.check == "segmented-not-planned")
    assert (finding.roi_number, finding.verdict) == (unplanned.number, Verdict.REVIEW)
