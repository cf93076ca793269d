"""What is stored comes back, by split, and only what dataset.json lists."""

from pathlib import Path

import numpy as np
import pytest

from imaging.geometry import VolumeGeometry
from imaging.transforms import AffineTransform
from imaging.volume import Volume
from training.dataset import Facts, HeldOutCase, hash_of, read_dataset, read_datasets, write_case, write_dataset
from training.keys import public_key
from training.pairs import AlignedPair, LabelledScan, write_pair
from training.splitting import pseudonyms, split_patients
from training.unusable import Unusable

SHAPE = (8, 9, 10)
TRAINED, HELD_OUT = "00000001", "00000002"


def pair(seed: int) -> AlignedPair:
    rng = np.random.default_rng(seed)
    images = rng.integers(-100, 100, size=(2, *SHAPE)).astype(np.int16)
    labels = rng.integers(0, 5, size=(2, *SHAPE)).astype(np.uint8)
    geometry = VolumeGeometry(SHAPE, (0.0, 0.0, 0.0), (2.0, 2.0, 2.0))
    return AlignedPair(images, labels, geometry, AffineTransform.identity())


def case(name: str) -> HeldOutCase:
    rng = np.random.default_rng(5)
    scans = []
    for spacing in (1.0, 3.0):
        geometry = VolumeGeometry(SHAPE, (1.0, 2.0, -4.5), (spacing, spacing, 2.0))
        hu = rng.integers(-100, 100, size=SHAPE).astype(np.int16)
        scans.append(LabelledScan(Volume(hu, geometry), rng.integers(0, 5, size=SHAPE).astype(np.uint8)))
    affine = np.eye(4)
    affine[0, 3] = 1 / 3
    return HeldOutCase(name, name.split("-", maxsplit=1)[0], scans[0], scans[1], AffineTransform(affine))


def write(
    folder: Path,
    *,
    spacing_mm: float = 2.0,
    patients: tuple[str, str] = (TRAINED, HELD_OUT),
    virtual: bool = False,
) -> Path:
    names = [f"{patients[0]}-01", f"{patients[0]}-02", f"{patients[1]}-01"]
    made = {
        name: write_pair(pair(number), folder / "pairs", name=name, targets=(3, 4), seed=number)
        for number, name in enumerate(names)
    }
    write_case(case(names[2]), folder / "cases")
    split = {"training": (patients[0],), "validation": (patients[1],), "test": ()}
    facts = Facts(
        spacing_mm=spacing_mm,
        organs=("A", "B", "C", "D"),
        seed=1,
        virtual=virtual,
        sha256=hash_of(made),
        split=split,
        pairs=made,
    )
    write_dataset(facts, folder)
    return folder


def test_pairs_come_back_by_split_with_their_patient(tmp_path: Path) -> None:
    dataset = read_dataset(write(tmp_path))
    trained, held_out = dataset.pairs("training"), dataset.pairs("validation")
    assert [one.name for one in trained] == [f"{TRAINED}-01", f"{TRAINED}-02"]
    assert {one.patient for one in trained} == {TRAINED}
    assert [one.patient for one in held_out] == [HELD_OUT]
    assert dataset.pairs("test") == ()
    np.testing.assert_array_equal(trained[1].images, pair(1).images)
    assert (trained[0].images.dtype, trained[0].labels.dtype, trained[0].centres.dtype) == (
        np.int16,
        np.uint8,
        np.int16,
    )
    assert isinstance(trained[0].images, np.memmap)


def test_a_case_comes_back_exactly(tmp_path: Path) -> None:
    dataset = read_dataset(write(tmp_path))
    (name,) = dataset.case_names("validation")
    (found,), expected = tuple(dataset.cases("validation")), case(name)
    assert (found.name, found.patient) == (f"{HELD_OUT}-01", HELD_OUT)
    np.testing.assert_array_equal(found.affine.matrix, expected.affine.matrix)
    for one, other in ((found.planning, expected.planning), (found.daily, expected.daily)):
        assert one.volume.geometry == other.volume.geometry
        np.testing.assert_array_equal(one.volume.hu, other.volume.hu)
        np.testing.assert_array_equal(one.labels, other.labels)


def test_training_patients_have_no_cases(tmp_path: Path) -> None:
    dataset = read_dataset(write(tmp_path))
    assert dataset.case_names("training") == ()
    with pytest.raises(KeyError, match="no case"):
        dataset.case(f"{TRAINED}-01")


def test_a_pair_that_is_not_listed_is_not_read_and_a_changed_one_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    write_pair(pair(9), tmp_path / "pairs", name=f"{TRAINED}-09", targets=(3, 4), seed=0)
    dataset = read_dataset(tmp_path)
    assert len(dataset.pairs("training")) == 2
    write_pair(pair(9), tmp_path / "pairs", name=f"{TRAINED}-01", targets=(3, 4), seed=0)
    with pytest.raises(ValueError, match="run `prepare` again"):
        dataset.pairs("training")


def test_an_array_that_changed_on_the_disk_is_noticed_where_training_starts(tmp_path: Path) -> None:
    dataset = read_dataset(write(tmp_path))
    assert [one.sha256 for one in dataset.verified_pairs("training")] == [
        dataset.facts.pairs[name] for name in dataset.names("training")
    ]
    damaged = tmp_path / "pairs" / f"{TRAINED}-02" / "images.npy"
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    assert len(dataset.pairs("training")) == 2
    with pytest.raises(ValueError, match=f"{TRAINED}-02 .* delete its folder"):
        dataset.verified_pairs("training")


def test_a_truncated_or_missing_array_is_refused_with_advice(tmp_path: Path) -> None:
    dataset = read_dataset(write(tmp_path))
    images = tmp_path / "pairs" / f"{TRAINED}-01" / "images.npy"
    images.write_bytes(images.read_bytes()[:-10])
    with pytest.raises(ValueError, match="delete its folder"):
        dataset.pairs("training")
    images.unlink()
    with pytest.raises(ValueError, match="delete its folder"):
        dataset.pairs("training")


def test_datasets_are_virtual_together_only_if_each_is_and_others_say_nothing_of_it(tmp_path: Path) -> None:
    phantoms = write(tmp_path / "a", virtual=True)
    more = write(tmp_path / "b", virtual=True, patients=("00000003", "00000004"))
    real = write(tmp_path / "c", patients=("00000005", "00000006"))
    assert read_datasets([phantoms, more]).virtual
    assert not read_datasets([phantoms, real]).virtual
    assert not read_dataset(real).virtual
    assert "virtual" not in (real / "dataset.json").read_text()


def test_an_unfinished_dataset_and_one_of_another_format_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="training prepare"):
        read_dataset(tmp_path)
    (tmp_path / "dataset.json").write_text('{"format": 2}')
    with pytest.raises(ValueError, match="another format"):
        read_dataset(tmp_path)


def test_several_datasets_are_read_as_one(tmp_path: Path) -> None:
    first = write(tmp_path / "a")
    second = write(tmp_path / "b", patients=("00000003", "00000004"))
    both = read_datasets([first, second])
    assert len(both.pairs("training")) == 4
    assert both.case_names("validation") == ("00000002-01", "00000004-01")
    assert both.case("00000004-01").patient == "00000004"
    assert both.sha256 not in (read_dataset(first).sha256, read_dataset(second).sha256)
    assert both.sha256 == read_datasets([second, first]).sha256


def test_datasets_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    first = write(tmp_path / "a")
    coarse = write(tmp_path / "b", spacing_mm=2.5, patients=("00000003", "00000004"))
    again = write(tmp_path / "c")
    with pytest.raises(ValueError, match="spacing"):
        read_datasets([first, coarse])
    with pytest.raises(ValueError, match="two datasets"):
        read_datasets([first, again])


def test_the_split_counts_are_rounded_parts_and_every_patient_is_in_one() -> None:
    patients = [f"P{number}" for number in range(18)]
    split = split_patients(patients, validation=0.333, test=0.1, seed=42)
    counts = {name: sum(where == name for where in split.values()) for name in ("training", "validation", "test")}
    assert counts == {"training": 10, "validation": 6, "test": 2}
    assert set(split) == set(patients)
    assert split == split_patients(reversed(patients), validation=0.333, test=0.1, seed=42)
    assert split != split_patients(patients, validation=0.333, test=0.1, seed=43)


def test_one_more_patient_moves_at_most_one_other_across_each_border() -> None:
    patients = [f"P{number}" for number in range(18)]
    before = split_patients(patients, validation=0.33, test=0.33, seed=1)
    for newcomer in (f"Q{number}" for number in range(30)):
        after = split_patients([*patients, newcomer], validation=0.33, test=0.33, seed=1)
        assert sum(before[one] != after[one] for one in patients) <= 2


def test_parts_that_make_no_sense_are_refused() -> None:
    for validation, test in ((0.6, 0.6), (-0.1, 0.0), (float("nan"), 0.0)):
        with pytest.raises(ValueError, match="at most 1"):
            split_patients(["P"], validation=validation, test=test, seed=0)


def test_pseudonyms_are_8_hex_digits_that_change_with_the_key() -> None:
    names = pseudonyms(["P1", "P2"], bytes(32))
    assert all(len(name) == 8 and int(name, 16) >= 0 for name in names.values())
    assert names == pseudonyms(["P2", "P1"], bytes(32))
    assert names["P1"] != pseudonyms(["P1"], bytes(31) + b"1")["P1"]


def test_a_virtual_patient_keeps_its_pseudonym_for_ever() -> None:
    """Published numbers name virtual cases by it."""
    assert pseudonyms(["PHANTOM-A-1002020"], public_key(42)) == {"PHANTOM-A-1002020": "15220158"}


def test_two_patients_of_one_pseudonym_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.splitting._keyed", lambda *_: b"1234")
    with pytest.raises(Unusable, match="same pseudonym"):
        pseudonyms(["P1", "P2"], bytes(32))
