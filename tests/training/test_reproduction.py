# ruff: noqa: E402 - nothing below the first lines can be imported without torch
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra 'training'")
pytest.importorskip("itk", reason="elastix needs the extra 'baselines'")

from training.checkpoint import Stage, TrainedNetwork
from training.evaluation.paper import PAPER_ORGANS, printed_rows
from training.evaluation.scores import CaseScore, OrganScore
from training.experiment import read_reproduction
from training.reproduce import REFERENCE, best_of, reproduce
from training.reproduction_page import compared, provenance


def score(system, path, msd):
    rows = tuple(OrganScore(organ, path, msd, 2 * msd, 0.9, 0.0, 0) for organ in PAPER_ORGANS)
    return CaseScore(system, "", "case", "patient", rows, None, 0.0)


def test_systems_in_the_papers_order_agree_in_every_pair():
    rows = printed_rows("msd_mm", "HMC")
    scores = [score(row.system, row.path, 10 * row.values[0].mean) for row in rows]
    same, turned = compared(scores, "HMC", "Prostate", {})
    values = [row.values[0].mean for row in rows]
    unequal = sum(a != b for index, a in enumerate(values) for b in values[:index])
    assert (same, turned) == (unequal, [])


def test_a_pair_that_stands_the_other_way_round_is_named():
    scores = [score("Cross-stitch", "segmentation", 2.0), score("elastix best", "registration", 1.0)]
    same, turned = compared(scores, "HMC", "Prostate", {"elastix": "elastix best"})
    assert (same, turned) == (0, [("Cross-stitch (segmentation)", "elastix (registration)")])


def test_of_several_settings_the_one_that_is_best_on_validation_is_kept():
    scores = [score("Hybrid", "registration", 2.0), score("Hybrid, long", "registration", 1.0)]
    scores.append(score("elastix", "registration", 0.5))
    assert best_of([SimpleNamespace(name="Hybrid"), SimpleNamespace(name="Hybrid, long")], scores) == "Hybrid, long"


def trained(family, commit):
    stage = Stage(0, commit, 1, "ab" * 32, "")
    return TrainedNetwork(None, SimpleNamespace(network=SimpleNamespace(family=family)), 1, 0.0, (stage,))


def test_the_page_says_whence_its_networks_come():
    lines = list(provenance({"a": trained("dense", "1" * 40), "b": trained("dense", "2" * 40 + "+")}))
    assert lines[0] == f"trained at commit {'1' * 12}, {'2' * 12}+"
    assert lines[1] == "SHA-256 of the training cohort abababababababab"
    assert f"torch {torch.__version__}" in lines[2]
    assert "cores" in lines[2]
    assert len(lines) == 3


def test_the_page_says_that_two_networks_share_the_steps():
    assert "share the steps" in list(provenance({"DeepAtlas": trained("deep-atlas", "1" * 40)}))[-1]


@pytest.mark.slow
def test_the_whole_comparison_runs_and_goes_on_where_it_was(tmp_path):
    experiment = read_reproduction("smoke", tmp_path, workers=2, device="cpu")
    page = reproduce(experiment)
    text = page.read_text()
    for title in experiment.networks.values():
        assert title in text
    for heading in ("Validation, clinic A: 1 cases", "Test, clinic B: 1 cases", "Order of the systems"):
        assert heading in text
    for system in (one for settings in experiment.tried().values() for one in settings):
        assert f"| {system.name} |" in text
    assert "cut to 10 iterations each" in text
    assert REFERENCE in experiment.networks.values()
    made = {file: file.stat().st_mtime_ns for file in tmp_path.glob("runs/*/network.pt")}
    (tmp_path / "runs" / "dense" / "network.pt").unlink()
    reproduce(experiment)
    again = {file: file.stat().st_mtime_ns for file in tmp_path.glob("runs/*/network.pt")}
    assert {file.parent.name for file in made if made[file] != again[file]} == {"dense"}
