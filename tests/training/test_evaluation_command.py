import argparse
import json

import pytest

pytest.importorskip("torch", reason="training needs the extra 'training'")

from training.dataset import Facts, HeldOutCase, hash_of, read_dataset, write_case, write_dataset
from training.evaluation.command import add_arguments, compare, reference_of, run
from training.evaluation.unseen import Cohort, SeenPatient, check_unseen
from training.pairs import LabelledScan

from .evaluated import BLADDER, ORGANS, RECTUM, Fixed, held_out

FAR = (BLADDER[0], BLADDER[1], slice(12, 16))


@pytest.fixture
def dataset(tmp_path):
    """One validation and one test patient with a day each."""
    folder = tmp_path / "dataset"
    names = {"0000000a-1": "0" * 64, "0000000b-1": "1" * 64}
    for name in names:
        case = held_out(name)
        planning, daily = (LabelledScan(scan.volume, scan.labels) for scan in (case.planning, case.daily))
        write_case(HeldOutCase(name, case.patient, planning, daily, case.affine), folder / "cases")
    split = {"training": (), "validation": ("0000000a",), "test": ("0000000b",)}
    facts = Facts(spacing_mm=2.0, organs=ORGANS, seed=1, sha256=hash_of(names), split=split, pairs=names)
    write_dataset(facts, folder)
    return folder


class TwoPaths(Fixed):
    """The segmentation is exact, the registration 8 mm off at the bladder."""

    paths = ("segmentation", "registration")

    def contour(self, case):
        exact, far = ({1: BLADDER, 2: RECTUM}, {1: FAR, 2: RECTUM})
        paths = {"segmentation": exact, "registration": far}
        found = {path: Fixed("", boxes, path).contour(case).paths[path] for path, boxes in paths.items()}
        return type(super().contour(case))(found, None, 1.0)


def test_test_cases_are_judged_by_the_paths_that_validation_chose(dataset, tmp_path):
    systems = [TwoPaths("Cross-stitch", {}), Fixed("far", {1: FAR})]
    out = tmp_path / "out"
    sections = compare(systems, read_dataset(dataset), ["validation", "test"], out, pictures=1, progress=False)
    assert [score.case for score in sections["validation"]] == ["0000000a-1"] * 2
    stored = json.loads((out / "paths.json").read_text())["systems"]
    assert stored["Cross-stitch"]["paths"] == {"Bladder": "segmentation", "Rectum": "segmentation"}
    report = (out / "test" / "report.md").read_text()
    assert report.startswith("# Test: 1 cases")
    assert "† differs from Cross-stitch (Bladder: segmentation, Rectum: segmentation)" in report
    assert "Printed in the paper, EMC" in report
    assert (out / "test" / "pictures" / "far" / "1-rectum.png").is_file()


def test_the_command_line_scores_references_on_a_dataset(dataset, tmp_path, capsys):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    out = tmp_path / "out"
    words = ["--systems", "no alignment", "affine", "--dataset", str(dataset), "--out", str(out), "--pictures", "0"]
    run(parser.parse_args(words))
    assert capsys.readouterr().out.strip() == str(out / "validation" / "report.md")
    assert (
        "| affine | registration | **0.00 (0.00)** | **0.00 (0.00)** |"
        in (out / "validation" / "report.md").read_text()
    )


def test_a_reference_that_is_not_compared_is_refused(dataset, tmp_path):
    with pytest.raises(ValueError, match="not among the systems: far"):
        compare([Fixed("far", {1: FAR})], read_dataset(dataset), ["test"], tmp_path, reference="near", progress=False)


def report_of(dataset, split, out, *systems):
    compare(systems, read_dataset(dataset), [split], out, pictures=0, progress=False)
    return (out / split / "report.md").read_text()


def test_a_choice_for_another_network_or_dataset_is_not_used(dataset, tmp_path):
    """Without a choice the reference is tested path by path, and the report says why."""
    out = tmp_path / "out"
    report_of(dataset, "validation", out, TwoPaths("Cross-stitch", {}))
    text = report_of(dataset, "test", out, TwoPaths("Cross-stitch", {}, identity="2"))
    assert "The paths of Cross-stitch were chosen before it changed" in text
    assert "† differs from Cross-stitch of the same path" in text
    (out / "paths.json").write_text((out / "paths.json").read_text().replace('"dataset": "', '"dataset": "0'))
    assert "chosen on another dataset are not used" in report_of(dataset, "test", out, TwoPaths("Cross-stitch", {}))


@pytest.mark.parametrize(
    ("names", "reference"),
    [
        (("Cross-stitch a", "Cross-stitch"), "Cross-stitch"),
        (("cross-stitch-a", "cross-stitch-b", "cross-stitch-c"), "cross-stitch-b"),
        (("dense", "cross-stitch-a"), "cross-stitch-a"),
    ],
)
def test_the_reference_is_the_published_network(names, reference):
    found = reference_of([Fixed(name, {}) for name in names], None, {})
    assert found is not None
    assert found.system == reference


class Learning(Fixed):
    """Learned from somebody."""

    learned_from: tuple[Cohort, ...] | None = ()


def learning(learned_from):
    system = Learning("network", {1: BLADDER})
    system.learned_from = learned_from
    return system


OWN = hash_of({})
"""Of the training split of the dataset, which has no pair."""


@pytest.mark.parametrize(
    ("learned_from", "message"),
    [
        ((Cohort(("0000000c", "0000000a"), "f" * 64),), "1 of the 1 validation patients"),
        ((Cohort((), OWN), Cohort(("0000000a",), "f" * 64)), "1 of the 1 validation patients"),
        ((Cohort((), "f" * 64),), "does not say from whom it learned"),
    ],
)
def test_nobody_is_evaluated_whom_the_network_saw(dataset, tmp_path, learned_from, message):
    system = learning(learned_from)
    with pytest.raises(SeenPatient, match=message):
        report_of(dataset, "validation", tmp_path, system)
    assert system.asked == 0


@pytest.mark.parametrize(
    ("learned_from", "remark"),
    [
        ((Cohort(("0000000c",), "f" * 64),), "learned from another dataset"),
        (None, "does not say whom it learned from"),
        ((Cohort((), OWN),), ""),
    ],
)
def test_what_is_not_certain_of_the_training_is_said(dataset, learned_from, remark):
    said = check_unseen([learning(learned_from)], read_dataset(dataset), ["validation", "test"])
    assert [remark in sentence for sentence in said] == ([True] if remark else [])


def test_the_network_inside_another_system_is_looked_at_too(dataset):
    system = Fixed("Hybrid", {1: BLADDER})
    system.bladder = learning((Cohort(("0000000a",), "f" * 64),))
    with pytest.raises(SeenPatient, match="Hybrid learned from 1"):
        check_unseen([system], read_dataset(dataset), ["validation"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--systems", "affine", "--dataset", "NOWHERE"], "no finished dataset"),
        (["--systems", "NOWHERE", "--dataset", "DATASET"], "names no system"),
        (["--systems", "hybrid", "--dataset", "DATASET"], "hybrid=RUN"),
        (["--systems", "affine", "affine", "--dataset", "DATASET"], "same name"),
        (["--systems", "affine", "--dataset", "DATASET", "--reference", "near"], "not among the systems: affine"),
        (["--systems", "affine", "--dataset", "DATASET", "--update-model"], "exactly one exported model"),
        (["--systems", "affine", "--dataset", "EMPTY"], "no validation patient"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(dataset, tmp_path, words, message):
    empty = tmp_path / "empty"
    empty.mkdir()
    nobody = {"training": (), "validation": (), "test": ()}
    write_dataset(Facts(spacing_mm=2.0, organs=ORGANS, seed=1, sha256=OWN, split=nobody, pairs={}), empty)
    places = {"NOWHERE": str(tmp_path / "nowhere"), "DATASET": str(dataset), "EMPTY": str(empty)}
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    out = tmp_path / "out"
    with pytest.raises(SystemExit, match=message) as stopped:
        run(parser.parse_args([*(places.get(word, word) for word in words), "--out", str(out)]))
    assert "\n" not in str(stopped.value)
    assert not out.exists()
