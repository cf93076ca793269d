"""The manifest is the contract with training: what it does not know, it refuses."""

import pytest
from pydantic import ValidationError

from tests.manifests import manifest_with


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(ValidationError, match="surprise"):
        manifest_with(surprise=1)


def test_an_organ_is_found_by_alias_without_regard_to_case() -> None:
    organ = manifest_with().organ_of(" BLASE ")
    assert organ is not None
    assert organ.name == "Bladder"


@pytest.mark.parametrize("name", ["Bladder2", "blad", "Rectum_PRV", ""])
def test_a_similar_name_is_never_guessed(name: str) -> None:
    """Hazard: the wrong organ segmented under a planned name."""
    assert manifest_with().organ_of(name) is None


def test_a_region_size_that_the_network_cannot_halve_twice_is_refused() -> None:
    with pytest.raises(ValidationError, match="no multiple of 4"):
        manifest_with(region_sizes=((98, 96, 96),))


def test_one_spelling_for_two_organs_is_refused() -> None:
    organs = [organ.model_dump() for organ in manifest_with().organs]
    organs[1]["aliases"] = ("BLADDER",)
    with pytest.raises(ValidationError, match="occurs twice"):
        manifest_with(organs=organs)
