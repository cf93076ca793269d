import csv
import io
import math
from dataclasses import replace

from training.evaluation.measures import FieldMeasures
from training.evaluation.rendering import comma_separated, latex, markdown
from training.evaluation.statistics import Reference
from training.evaluation.tables import oracle_table, organ_table, organs_in, quality_table

from .evaluated import case_score, organ_score, scores_of

INFINITE = float("inf")
SIX = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)


def compared():
    """Six cases: 'near' is everywhere better by a different amount, so p = 2/64."""
    near = scores_of("near", "Rectum", "segmentation", *(0.5 * value for value in SIX))
    return [*scores_of("cross-stitch", "Rectum", "segmentation", *SIX), *near]


def test_a_table_as_markdown():
    table = organ_table(compared(), "msd_mm", reference=Reference("cross-stitch", {"Rectum": "segmentation"}))
    assert markdown(table).splitlines() == [
        "### Mean surface distance, mm",
        "",
        "| system | path | Rectum |",
        "|---|---|---|",
        "| cross-stitch | segmentation | 3.50 ± 1.87 (3.50) |",
        "| near | segmentation | **1.75 ± 0.94 (1.75)†** |",
        "",
        "Mean ± standard deviation (median) over cases.  ",
        "[n empty]: n cases without an answer, left out of the numbers; bold: best mean, fewest empty.  ",
        "Measured on the daily CT's own voxels; the paper measured on a grid of 1 mm.  ",
        "† differs from cross-stitch (Rectum: segmentation): two-sided Wilcoxon signed-rank test, p < 0.05, over the "
        "cases that both have.  ",
    ]


def test_a_table_as_latex():
    table = organ_table(compared(), "msd_mm", reference=Reference("cross-stitch", {}))
    lines = latex(table).splitlines()
    assert lines[0] == r"\begin{table}"
    assert r"$^\dagger$ differs from cross-stitch of the same path" in lines[1]
    assert lines[2:] == [
        r"\begin{tabular}{llc}",
        r"\toprule",
        r"System & Path & Rectum \\",
        r"\midrule",
        r"cross-stitch & segmentation & 3.50 $\pm$ 1.87 (3.50) \\",
        r"near & segmentation & \textbf{1.75 $\pm$ 0.94 (1.75)$^\dagger$} \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]


def test_a_table_as_csv_has_every_number():
    table = organ_table(compared(), "msd_mm", reference=Reference("cross-stitch", {}))
    rows = list(csv.DictReader(io.StringIO(comma_separated(table))))
    assert [(row["system"], row["mean"], row["p"], row["best"]) for row in rows] == [
        ("cross-stitch", "3.5", "", "0"),
        ("near", "1.75", "0.03125", "1"),
    ]
    assert (rows[0]["lower quartile"], rows[0]["upper quartile"], rows[0]["cases"]) == ("2.25", "4.75", "6")


def test_missing_answers_are_counted_in_the_cell_and_cannot_be_best():
    """'blind' is nearer where it found something, which must not make it the best."""
    scores = [*scores_of("blind", "Rectum", "segmentation", 0.1, INFINITE), *scores_of("s", "Rectum", "service", 2, 2)]
    lines = markdown(organ_table(scores, "msd_mm")).splitlines()
    assert lines[4] == "| blind | segmentation | 0.10 (0.10) [1 empty] |"
    assert lines[5] == "| s | service | **2.00 ± 0.00 (2.00)** |"


def test_the_overlap_of_a_missing_answer_is_zero_and_counts():
    scores = scores_of("blind", "Rectum", "segmentation", 0.1, INFINITE)
    assert markdown(organ_table(scores, "dice")).splitlines()[4] == "| blind | segmentation | **0.40 ± 0.57 (0.40)** |"


def test_the_largest_overlap_is_the_best():
    rows = [
        case_score(system, "a-1", organ_score("Rectum", "segmentation", 1.0, dice))
        for system, dice in (("worse", 0.7), ("better", 0.9))
    ]
    lines = markdown(organ_table(rows, "dice")).splitlines()
    assert [line.count("**") for line in lines[4:6]] == [0, 2]


def test_columns_stand_in_the_order_of_the_paper():
    rows = tuple(organ_score(organ, "segmentation", 1.0) for organ in ("Bladder", "Rectum", "Bowel", "Prostate"))
    assert organs_in([case_score("s", "a-1", *rows)]) == ("Prostate", "Rectum", "Bladder", "Bowel")


def test_a_system_stands_once_with_its_paths_below_each_other():
    row = case_score("s", "a-1", organ_score("Rectum", "registration", 1.0), organ_score("Rectum", "segmentation", 2.0))
    lines = markdown(organ_table([row], "msd_mm")).splitlines()
    assert [line.split(" |")[0] for line in lines[4:6]] == ["| s", "| "]
    assert ["segmentation" in line for line in lines[4:6]] == [True, False]


def test_the_paper_stands_below_as_not_comparable_and_as_it_was_printed():
    table = organ_table(compared(), "msd_mm", printed="EMC")
    text = markdown(table)
    assert "*Printed in the paper, EMC: patients, not comparable*" in text
    assert "| Cross-stitch | segmentation | 3.61 ± 5.0 (2.18) |" in text
    assert "**3.61" not in text
    assert r"\emph{Printed in the paper, EMC: patients, not comparable}" in latex(table)


def test_the_reference_is_tested_on_the_path_that_validation_chose():
    """Against the chosen registration of the reference its own segmentation differs, and the other way nothing."""
    both = [
        case_score(
            "x", f"{n}-1", organ_score("Rectum", "segmentation", d), organ_score("Rectum", "registration", d / 2)
        )
        for n, d in enumerate(SIX)
    ]
    chosen = organ_table(both, "msd_mm", reference=Reference("x", {"Rectum": "registration"}))
    same = organ_table(both, "msd_mm", reference=Reference("x", {}))
    assert [line.count("†") for line in markdown(chosen).splitlines()[4:6]] == [1, 0]
    assert [line.count("†") for line in markdown(same).splitlines()[4:6]] == [0, 0]


def test_quality_shows_the_path_to_draw_the_field_and_the_time():
    row = case_score("s", "a-1", organ_score("Rectum", "segmentation", 2.0), organ_score("Rectum", "registration", 3.0))
    row = replace(row, field=FieldMeasures(0.0125, 0.25, math.nan, 10), seconds=4.25)
    lines = markdown(quality_table([row])).splitlines()
    assert lines[2] == "| system | path | APL Rectum, mm | folded, % | SD of J | SD of log J | seconds |"
    assert lines[4] == "| s | segmentation | 200 (200) | - | - | - | 4.2 (4.2) |"
    assert lines[5] == "|  | registration | 300 (300) | 1.25 (1.25) | 0.25 (0.25) | - [1 empty] | - |"


def test_the_oracle_is_a_table_of_its_own_that_says_what_it_is():
    row = case_score("s", "a-1", organ_score("Rectum", "segmentation", 2.0, oracle_msd_mm=1.0))
    table = oracle_table([row])
    assert table is not None
    lines = markdown(table).splitlines()
    assert lines[2] == "| system | path | Rectum | Rectum, oracle |"
    assert lines[4] == "| s | segmentation | 2.00 (2.00) | 1.00 (1.00) |"
    assert "Not a result." in lines[-2] + lines[-1]
    assert oracle_table(compared()) is None


def test_a_table_says_when_nothing_is_tested_and_on_how_many_threads_times_were_taken():
    row = replace(case_score("s", "a-1", organ_score("Rectum", "segmentation", 2.0)), threads=1)
    assert "Nothing was tested: no system" in markdown(organ_table([row], "msd_mm"))
    assert "Seconds on 1 CPU thread from the case" in markdown(quality_table([row]))
    assert "Seconds on 1 or 4 CPU threads" in markdown(quality_table([row, replace(row, threads=4)]))


def test_a_failed_case_has_no_time():
    organ = organ_score("Rectum", "segmentation", 2.0)
    rows = [case_score("s", f"{n}-1", organ, seconds=seconds) for n, seconds in enumerate((3.0, math.nan))]
    assert markdown(quality_table(rows)).splitlines()[4].endswith("| 3.0 (3.0) [1 empty] |")
