import json
import math

import pytest

pytest.importorskip("torch", reason="training needs the extra 'training'")

from imaging.manifest import ModelManifest
from training.evaluate import Score, markdown_table, recommended, summarise, write_report
from training.export import read_release
from training.recipe import RECIPES

INFINITE = float("inf")


@pytest.fixture
def manifest(recipe) -> ModelManifest:
    release = read_release(RECIPES / "prostate-ct.release.toml")
    return ModelManifest(
        name="prostate-ct",
        version="0.1.0",
        device_uid="2.25.1",
        sha256="0" * 64,
        golden_sha256="0" * 64,
        opset=18,
        spacing_mm=2.0,
        margin_voxels=20,
        size_multiple=4,
        region_sizes=release.region_sizes,
        hu_window=recipe.hu_window,
        label_encoding="integer-channel",
        organs=release.organs,
        parity_tolerance=1e-3,
        golden_tolerance=0.05,
        training_commit="",
        recipe="",
        cohort_hash="",
        intended_use="",
    )


def scores(organ: str, method: str, *distances: float) -> list[Score]:
    return [Score(f"case {n}", organ, method, d, 3 * d, 0.0 if d == INFINITE else 0.8) for n, d in enumerate(distances)]


def test_an_empty_answer_is_counted_and_left_out_of_the_mean_distance():
    (summary,) = summarise(scores("Rectum", "segmented", 1.0, INFINITE, 3.0))
    assert (summary.cases, summary.missing) == (3, 1)
    assert summary.msd_mean_mm == 2.0
    assert summary.msd_sd_mm == pytest.approx(math.sqrt(2))
    assert summary.msd_median_mm == 2.0
    assert summary.hd95_mean_mm == 6.0
    assert summary.dice_mean == pytest.approx(1.6 / 3)


def test_the_path_with_the_smaller_distance_is_recommended_organ_by_organ(manifest):
    rows = []
    for organ, propagated, segmented in (
        ("Bladder", 2.0, 1.0),
        ("Rectum", 1.0, 2.0),
        ("SeminalVes", 1.5, INFINITE),
        ("Prostate", 1.2, 1.1),
    ):
        rows += scores(organ, "propagated", propagated, propagated)
        rows += scores(organ, "segmented", segmented, 0.1 if segmented == INFINITE else segmented)
    paths = [organ.recommended for organ in recommended(manifest, summarise(rows)).organs]
    assert paths == ["segmented", "propagated", "propagated", "segmented"]


def test_the_report_is_json_without_infinities(tmp_path):
    rows = scores("Prostate", "affine", 1.0, INFINITE)
    write_report(tmp_path / "evaluation.json", {"test": rows}, {"test": 0.0})
    report = json.loads((tmp_path / "evaluation.json").read_text())
    assert report["test"]["scores"][1]["msd_mm"] is None
    assert report["test"]["summaries"][0]["msd_sd_mm"] is None


def test_the_table_shows_every_organ_and_method():
    table = markdown_table(summarise(scores("Bladder", "affine", 2.0, 4.0)))
    assert table.splitlines()[-1] == "| Bladder | affine | 3.00 ± 1.41 (3.00) | 9.0 | 0.800 | 0 of 2 |"
