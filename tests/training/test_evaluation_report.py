import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imaging.model import load_manifest
from training.evaluation.figures import box_plot
from training.evaluation.measures import FieldMeasures
from training.evaluation.outlines import read_outlines
from training.evaluation.pictures import draw_worst, picture, worst_of
from training.evaluation.report import card_table, chosen_paths, recommended, write_evaluation, write_report
from training.evaluation.run import Protocol, evaluate, outlines_file
from training.evaluation.statistics import Reference

from .evaluated import BLADDER, ORGANS, RECTUM, Fixed, case_score, held_out, organ_score, scores_of

MODEL = Path(__file__).parents[2] / "models" / "prostate-ct" / "1.0.0"
NAMES = ("0000000a-1", "0000000b-1")
FAR = (BLADDER[0], BLADDER[1], slice(12, 16))
INFINITE = float("inf")


def cases():
    return {name: (lambda name=name: held_out(name)) for name in NAMES}


@pytest.fixture
def evaluated(tmp_path):
    """Two systems on two cases: one exact, one with a bladder 8 mm off and no rectum."""
    systems = [Fixed("cross-stitch", {1: BLADDER, 2: RECTUM}, "segmentation"), Fixed("far", {1: FAR})]
    return evaluate(systems, cases(), tmp_path, Protocol(ORGANS), progress=False)


def test_the_worst_are_first_what_is_missing_is_worse_and_one_answer_stands_for_an_organ():
    rows = (organ_score("Rectum", "segmentation", 2.0), organ_score("Rectum", "registration", 3.0))
    scores = [
        case_score("s", "a-1", *rows, organ_score("Bladder", "segmentation", 9.0)),
        case_score("s", "b-1", organ_score("Rectum", "segmentation", INFINITE)),
        case_score("t", "b-1", organ_score("Rectum", "segmentation", 99.0)),
    ]
    worst = worst_of(scores, system="s", count=3)
    assert [(one.case, one.organ, one.path, one.msd_mm) for one in worst] == [
        ("b-1", "Rectum", "segmentation", INFINITE),
        ("a-1", "Bladder", "segmentation", 9.0),
        ("a-1", "Rectum", "registration", 3.0),
    ]


def test_pictures_say_system_organ_and_distance_and_nothing_of_the_patient(evaluated, tmp_path):
    worst = worst_of(evaluated, system="far", count=4)
    assert [one.organ for one in worst] == ["Rectum", "Rectum", "Bladder", "Bladder"]
    outlines = read_outlines(outlines_file(tmp_path, "far", NAMES[0]))
    titles = [picture(held_out(), outlines, one, label=1).get_suptitle() for one in worst[1:3]]
    assert titles[0] == "far, Rectum: registration nothing found"
    # Both cubes of 4 voxels are 8 mm apart along x; the corners of the near ones lie closer than the far sides.
    assert titles[1].startswith("far, Bladder: registration ")
    assert titles[1].endswith(" mm")


def test_pictures_show_the_planes_in_which_truth_and_answer_differ(evaluated, tmp_path):
    worst = worst_of(evaluated, system="far", count=4)[2]
    figure = picture(held_out(), read_outlines(outlines_file(tmp_path, "far", NAMES[0])), worst, label=1)
    axial, coronal, sagittal = figure.axes
    assert [panel.get_title() for panel in figure.axes] == ["axial", "coronal", "sagittal"]
    # Bladder -6..-3 mm and answer 2..5 mm along x, both 25 mm farther; the axial picture has the front on top.
    assert axial.get_xlim() == pytest.approx((-6 - 25, 5 + 25))
    assert axial.get_ylim() == pytest.approx((-1 + 25, -4 - 25))
    assert coronal.get_ylim() == pytest.approx((2 - 25, 8 + 25))
    assert sagittal.get_xlim() == pytest.approx((-4 - 25, -1 + 25))
    # Truth and answer are outlined where the plane crosses both.
    assert len(axial.collections) == 2


def test_the_pictures_of_a_system_are_files(evaluated, tmp_path):
    files = list(draw_worst(evaluated, cases(), tmp_path, system="far", organs=ORGANS, count=1))
    assert [file.name for file in files] == ["1-rectum.png"]
    assert files[0].read_bytes().startswith(b"\x89PNG")


def test_a_box_plot_has_a_panel_per_organ_a_box_per_path_and_counts_what_is_empty(evaluated):
    figure = box_plot(evaluated, "msd_mm")
    assert [panel.get_title() for panel in figure.axes] == ["Rectum", "Bladder"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["cross-stitch", "far"]
    assert [text.get_text().strip() for text in figure.axes[0].texts] == ["2 empty"]
    assert [len(panel.patches) for panel in figure.axes] == [1, 2]


def test_a_report_is_complete_on_disk(evaluated, tmp_path):
    report = write_report(
        evaluated,
        tmp_path,
        title="Validation: 2 cases",
        reference=Reference("cross-stitch", {}),
        printed="HMC",
        chosen={"cross-stitch": {"Rectum": "segmentation"}},
        remarks=["far is unfinished: step 3 of 4."],
    )
    text = report.read_text()
    assert text.startswith("# Validation: 2 cases\n")
    assert "| cross-stitch | segmentation 0.00 mm | - |" in text
    assert "### Failures" not in text
    assert text.count("far is unfinished: step 3 of 4.") == 4
    assert "step 3 of 4" in (tmp_path / "tables" / "dice.tex").read_text()
    for name in ("msd", "hd95", "dice", "quality"):
        assert (tmp_path / "tables" / f"{name}.csv").is_file()
        assert (tmp_path / "tables" / f"{name}.tex").is_file()
    for name in ("msd_mm", "hd95_mm", "dice"):
        assert (tmp_path / "figures" / f"{name}.png").is_file()
        assert (tmp_path / "figures" / f"{name}.svg").is_file()


def two_paths(system: str, segmentation: float, other: float, path="registration"):
    rows = (organ_score("Rectum", "segmentation", segmentation), organ_score("Rectum", path, other))
    return case_score(system, "a-1", *rows)


def test_paths_are_chosen_for_systems_that_have_both():
    scores = [two_paths("both", 2.0, 1.0), *scores_of("one", "Rectum", "segmentation", 1.0)]
    assert chosen_paths(scores) == {"both": {"Rectum": "registration"}}


def test_the_service_recommends_what_validation_found_nearer_of_what_it_delivers():
    """The network's field as it is was nearest, but the service does not deliver it."""
    manifest = load_manifest(MODEL)
    row = two_paths("model", 2.0, 1.0, "service")
    row = replace(row, organs=(*row.organs, organ_score("Rectum", "registration", 0.1)))
    found = {organ.name: organ.recommended for organ in recommended(manifest, [row], system="model").organs}
    before = {organ.name: organ.recommended for organ in manifest.organs}
    assert found == before | {"Rectum": "propagated"}


def model_scores():
    rows = (
        organ_score("Rectum", "segmentation", 1.0),
        organ_score("Rectum", "registration", INFINITE, 0.0),
        organ_score("Rectum", "service", 3.0),
    )
    field = FieldMeasures(0.25, 0.1, math.nan, 8)
    return [
        case_score("affine", "a-1", organ_score("Rectum", "registration", 5.0)),
        replace(case_score("model", "a-1", *rows), field=field),
    ]


def test_the_evaluation_of_a_model_speaks_the_words_of_the_service(tmp_path):
    write_evaluation(tmp_path / "evaluation.json", {"test": model_scores()}, system="model")
    section = json.loads((tmp_path / "evaluation.json").read_text())["test"]
    assert [row["method"] for row in section["summaries"]] == ["affine", "segmented", "network", "propagated"]
    assert [row["msd_mm"] for row in section["scores"]] == [5.0, 1.0, None, 3.0]
    assert [row["case"] for row in section["scores"]] == ["case-001"] * 4
    assert "a-1" not in (tmp_path / "evaluation.json").read_text()
    assert [row["missing"] for row in section["summaries"]] == [0, 0, 1, 0]
    assert section["summaries"][2]["msd_mean_mm"] is None
    assert section["fraction_folded"] == 0.25


def test_the_table_of_a_card_has_a_row_per_organ_and_method():
    lines = card_table(model_scores(), system="model").splitlines()
    assert lines[2] == "| Rectum | affine | 5.00 ± - (5.00) | 15.0 | 0.800 | 0 of 1 |"
    assert lines[4] == "| Rectum | network | - ± - (-) | - | 0.000 | 1 of 1 |"


def test_outlines_of_a_missing_organ_are_not_drawn(evaluated, tmp_path):
    found = read_outlines(outlines_file(tmp_path, "far", NAMES[1]))
    assert list(found["registration"]) == [1]
    assert np.count_nonzero(found["registration"][1]) == 64


def test_a_report_lists_what_failed_without_a_message(tmp_path):
    failed = replace(case_score("far", "a-1", organ_score("Rectum", "registration", INFINITE)), error="RuntimeError")
    text = write_report([failed], tmp_path, title="Test").read_text()
    assert "### Failures" in text
    assert "| far | a-1 | RuntimeError |" in text
