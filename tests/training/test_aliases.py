"""Names of organs: many spellings, no guesses."""

import json
from pathlib import Path

import numpy as np
import pytest

from imaging.structures import Contour, Roi
from training.aliases import normalised, organ_numbers, read_aliases
from training.unusable import Unusable

ALIASES = read_aliases()
MANIFEST = Path(__file__).parents[2] / "models" / "prostate-ct" / "1.0.0" / "manifest.json"
LOOP = (Contour(0.0, np.array([(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)])),)


def rois(*names: str) -> list[Roi]:
    return [Roi(number, name, contours=LOOP) for number, name in enumerate(names, 1)]


@pytest.mark.parametrize(
    ("name", "organ"),
    [
        ("Bladder", "Bladder"),
        ("BLAAS", "Bladder"),
        (" urinary-bladder ", "Bladder"),
        ("Rectum", "Rectum"),
        ("endeldarm", "Rectum"),
        ("SV", "SeminalVes"),
        ("Seminal Vesicles", "SeminalVes"),
        ("Sem_Ves", "SeminalVes"),
        ("ZAADBLAASJES", "SeminalVes"),
        ("Vesicules Séminales", "SeminalVes"),
        ("prostaat", "Prostate"),
    ],
)
def test_customary_spellings_mean_their_organ(name: str, organ: str) -> None:
    assert ALIASES.organs[ALIASES.label(name) - 1] == organ


@pytest.mark.parametrize(
    "name", ["", "GTV_prostate", "CTV1", "PTV_Prostate", "~Bladder", "Bladder^Full", "zRectum", "Rectum+5mm", "Bladdr"]
)
def test_targets_parts_and_misspellings_are_no_organ(name: str) -> None:
    assert ALIASES.label(name) is None


def test_a_misspelling_is_shown_and_a_target_is_not() -> None:
    assert ALIASES.nearest("Bladdr") == 1
    assert ALIASES.nearest("PTV") is None


def test_every_spelling_that_the_released_model_accepts_is_known_here() -> None:
    for organ in json.loads(MANIFEST.read_text())["organs"]:
        for spelling in (organ["name"], *organ["aliases"]):
            assert ALIASES.label(spelling) == organ["label"]


def test_accents_case_blanks_and_hyphens_make_no_difference() -> None:
    assert normalised("Vésicules_Séminales") == normalised("vesicules seminales") == "vesiculesseminales"


def test_a_file_adds_spellings(tmp_path: Path) -> None:
    file = tmp_path / "names.toml"
    file.write_text('Prostate = ["GTV_prostate"]\n')
    assert read_aliases(file).label("gtv prostate") == 4


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('Bowel = ["Darm"]', "'Bowel'"),
        ("Rectum = 3", "no list of spellings"),
        ('Rectum = ["Blaas"]', "two organs"),
        ("Rectum = [", "no TOML"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "names.toml"
    file.write_text(text)
    with pytest.raises(Unusable, match=why):
        read_aliases(file)


def test_organs_are_found_by_number_among_other_rois() -> None:
    found = organ_numbers(rois("Body", "Prostaat", "PTV", "Blaas", "SV", "Rectum"), ALIASES)
    assert found == {2: 4, 4: 1, 5: 3, 6: 2}


def test_two_rois_of_one_organ_are_refused_by_number() -> None:
    with pytest.raises(Unusable, match="ROIs 1 and 3 all mean Bladder"):
        organ_numbers(rois("Bladder", "Rectum", "Blaas", "SV", "Prostate"), ALIASES)


def test_an_empty_double_does_not_count() -> None:
    drawn = [*rois("Bladder", "Rectum", "SV", "Prostate"), Roi(9, "Blaas")]
    assert 9 not in organ_numbers(drawn, ALIASES)


def test_missing_organs_are_named_with_hints_that_hold_no_roi_name() -> None:
    drawn = [*rois("Bladdr", "Rectum", "SV"), Roi(8, "Prostate")]
    with pytest.raises(Unusable) as caught:
        organ_numbers(drawn, ALIASES)
    assert caught.value.reason == "no ROI with contours is named Bladder, Prostate"
    assert "ROI 1 is spelt nearly like Bladder" in caught.value.advice
    assert "ROI 8 is Prostate but has no contours" in caught.value.advice
    assert "Bladdr" not in str(caught.value)
