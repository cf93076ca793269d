import argparse
import json

import pytest

pytest.importorskip("torch", reason="training needs the extra 'training'")

from training.dataset import Facts, HeldOutCase, hash_of, read_dataset, write_case, write_dataset
from training.evaluation.command import add_arguments, compare, run
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
    assert json.loads((out / "paths.json").read_text()) == {
        "Cross-stitch": {"Bladder": "segmentation", "Rectum": "segmentation"}
    }
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
