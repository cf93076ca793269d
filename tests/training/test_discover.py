"""Sorting by reference; headers are made by hand, so each rule stands alone."""

import os
from pathlib import Path

import pytest

from tests.dicom_factory import PLANNING, ct_bytes, structure_bytes
from training.aliases import read_aliases
from training.discover import Discovery, cohort_files, sort_cohort
from training.headers import NEVER, Header, read_header
from training.unusable import Unusable

ALIASES = read_aliases()
ORGANS = ALIASES.organs


def ct(series: str, *, day: str = "20260101", time: str = "080000", patient: str = "P", count: int = 2) -> list[Header]:
    return [
        Header(
            f"{series}/{k}",
            "ct",
            sha256=f"{series}{k}",
            patient=patient,
            series=series,
            instance=f"{series}.{k}",
            moment=(day, time),
        )
        for k in range(count)
    ]


def rs(series: str, name: str = "rs", **changes: object) -> Header:
    facts: dict[str, object] = {
        "sha256": f"{series}{name}",
        "patient": "P",
        "instance": f"{series}.{name}",
        "drawn_on": frozenset({series}),
        "roi_names": ORGANS,
        "moment": ("20260101", "1200"),
    }
    return Header(f"{series}/{name}", "structures", **(facts | changes))  # type: ignore[arg-type]


def sort(*headers: Header | list[Header], planning: frozenset[str] = frozenset()) -> Discovery:
    flat = [one for part in headers for one in (part if isinstance(part, list) else [part])]
    return sort_cohort(flat, ALIASES, planning)


def roles(found: Discovery) -> tuple[str, list[int]]:
    (patient,) = found.patients
    return Path(patient.planning.structures).parent.name, [day for day, _ in patient.dailies]


def reasons(found: Discovery) -> str:
    return "\n".join(f"{one.what}: {one.reason}; {one.advice}" for one in found.rejections)


LATER = {"day": "20260115"}
PLAN_AND_DAY = (ct("a"), rs("a"), ct("b", **LATER), rs("b"))


def test_the_earliest_ct_with_structures_is_the_planning_ct() -> None:
    found = sort(ct("b", **LATER), rs("b"), rs("a"), ct("a"))
    assert roles(found) == ("a", [1])
    assert not found.rejections


def test_the_time_of_day_decides_within_a_day() -> None:
    found = sort(ct("a", time="090000"), rs("a"), ct("b", time="083000"), rs("b"))
    assert roles(found) == ("b", [1])


def test_an_rtplan_outweighs_the_date() -> None:
    plan = Header("plan", "plan", patient="P", plans=frozenset({"b.rs"}))
    assert roles(sort(*PLAN_AND_DAY, plan)) == ("b", [0])


def test_the_users_word_outweighs_an_rtplan() -> None:
    plan = Header("plan", "plan", patient="P", plans=frozenset({"b.rs"}))
    assert roles(sort(*PLAN_AND_DAY, plan, planning=frozenset({"a"}))) == ("a", [1])


def test_a_tie_is_reported() -> None:
    found = sort(ct("a"), rs("a"), ct("b"), rs("b"))
    assert roles(found) == ("a", [1])
    assert "2 CTs are the earliest by date and time; CT 0 was taken" in reasons(found)


def test_a_ct_without_a_date_comes_last_and_an_earlier_one_without_structures_is_reported() -> None:
    undated = [Header(**{**vars(one), "moment": NEVER}) for one in ct("a")]
    found = sort(undated, rs("a"), ct("b"), ct("c", **LATER), rs("c"))
    assert roles(found) == ("c", [2])
    assert "CT 0: no RTSTRUCT is drawn on it" in reasons(found)
    assert "CT 1 was taken; earlier ones have no RTSTRUCT" in reasons(found)


def test_the_newest_structure_set_that_names_all_organs_counts() -> None:
    old = rs("a", "old", moment=("20260101", "0900"))
    partial = rs("a", "partial", moment=("20260301", "1200"), roi_names=("Bladder",))
    found = sort(ct("a"), old, rs("a", "new"), partial, ct("b", **LATER), rs("b"))
    assert found.patients[0].planning.structures == "a/new"
    assert "another RTSTRUCT of CT 0 is newer" in reasons(found)
    assert "another RTSTRUCT of CT 0 names all organs" in reasons(found)


def test_structure_sets_without_a_series_reference_belong_to_the_images_they_name() -> None:
    named = rs("b", drawn_on=frozenset(), images=frozenset({"b.1"}))
    assert roles(sort(ct("a"), rs("a"), ct("b", **LATER), named)) == ("a", [1])


def test_a_structure_set_without_its_ct_is_reported() -> None:
    found = sort(*PLAN_AND_DAY, rs("gone"))
    assert "RTSTRUCT: the CT that it was drawn on is not in the folder" in reasons(found)


def test_a_structure_set_on_two_series_is_reported() -> None:
    found = sort(*PLAN_AND_DAY, rs("c", drawn_on=frozenset({"a", "b"})))
    assert "references 2 of the patient's CT series" in reasons(found)


def test_a_structure_set_drawn_on_another_patient_is_reported() -> None:
    found = sort(*PLAN_AND_DAY, ct("c", patient="Q"), rs("c"))
    assert "it references the CT of another patient" in reasons(found)
    assert "CT 0: no RTSTRUCT is drawn on it" in reasons(found)


def test_the_only_scan_of_another_patient_is_reported() -> None:
    found = sort(*PLAN_AND_DAY, ct("c", patient="Q"), rs("c", patient="Q"))
    assert [patient.patient_id for patient in found.patients] == ["P"]
    assert "no daily CT that can be used" in reasons(found)
    assert "another patient's scan" in reasons(found)


def test_copies_of_files_are_used_once_and_reported() -> None:
    copy = Header(**{**vars(ct("a")[0]), "file": "copy/0"})
    found = sort(*PLAN_AND_DAY, copy)
    assert len(found.patients[0].planning.images) == 2
    assert "CT 0: 1 files are copies of others" in reasons(found)


def test_a_scout_is_reported_and_takes_no_number() -> None:
    scout = [Header(**{**vars(one), "localizer": True}) for one in ct("s", day="20251231")]
    found = sort(*PLAN_AND_DAY, scout)
    assert roles(found) == ("a", [1])
    assert "CT 2: the series is a scout" in reasons(found)


def test_a_damaged_image_takes_its_series_out_and_a_damaged_planning_ct_the_patient() -> None:
    broken = Header("a/9", "ct", patient="P", series="a", trouble=("it ends early", "send it again"))
    found = sort(*PLAN_AND_DAY, broken)
    assert not found.patients
    assert "CT 0: 1 of 3 images cannot be read: it ends early; send it again" in reasons(found)
    assert "CT 1: the planning CT of the patient cannot be used" in reasons(found)


def test_an_empty_patient_id_is_reported() -> None:
    found = sort(ct("a", patient=""), rs("a", patient=""))
    assert not found.patients
    assert "Patient ID is empty in a CT image" in reasons(found)


def test_every_series_and_structure_set_is_used_or_reported() -> None:
    scout = [Header(**{**vars(one), "localizer": True}) for one in ct("s")]
    headers = [*ct("a"), rs("a"), *ct("b", **LATER), rs("b"), *ct("c"), rs("gone"), rs("a", "two"), *scout]
    found = sort(headers)
    used = {
        file for p in found.patients for _, s in (*p.dailies, (0, p.planning)) for file in (*s.images, s.structures)
    }
    reported = {source for one in found.rejections for source in one.sources}
    assert used | reported == {header.file for header in headers}


def test_a_header_is_read_and_the_file_let_go(tmp_path: Path) -> None:
    (tmp_path / "ct.dcm").write_bytes(ct_bytes(PLANNING)[0])
    (tmp_path / "rs.dcm").write_bytes(structure_bytes(PLANNING))
    image, structures = (read_header(str(tmp_path / name)) for name in ("ct.dcm", "rs.dcm"))
    assert (image.kind, image.series, image.instance) == ("ct", PLANNING.series_uid, PLANNING.image_uid(0))
    assert image.moment == ("20260102", "101112")
    assert structures.drawn_on == {PLANNING.series_uid}
    assert image.patient == structures.patient != ""
    assert image.trouble is structures.trouble is None


def test_a_truncated_image_is_still_known_by_its_series(tmp_path: Path) -> None:
    data = ct_bytes(PLANNING)[0]
    (tmp_path / "cut.dcm").write_bytes(data[:-100])
    found = read_header(str(tmp_path / "cut.dcm"))
    assert (found.kind, found.series) == ("ct", PLANNING.series_uid)
    assert found.trouble is not None
    assert "pixel data" in found.trouble[0]


@pytest.mark.parametrize("content", [b"", b"notes", bytes(128) + b"DICM", bytes(128) + b"DICM" + bytes(400)])
def test_anything_else_is_a_header_with_its_trouble(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    found = read_header(str(tmp_path / "file"))
    assert found.kind == "other"
    assert found.trouble


def test_a_link_to_a_folder_is_reported_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "real" / "deep" / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "real", target_is_directory=True)
    files, rejections = cohort_files(tmp_path)
    assert files == [str(tmp_path / "real" / "deep" / "file")]
    assert [one.reason for one in rejections] == ["links to folders are not followed"]


def test_a_folder_that_cannot_be_opened_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    (tmp_path / "file").touch()
    opened = os.scandir

    def scandir(folder: str) -> object:
        if str(folder) == str(closed):
            raise PermissionError(13, "Permission denied", str(closed))
        return opened(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    files, rejections = cohort_files(tmp_path)
    assert files == [str(tmp_path / "file")]
    assert [(one.what, one.reason, one.sources) for one in rejections] == [
        ("1 folders", "folders cannot be opened", (str(closed),))
    ]


def test_a_planning_uid_that_no_series_has_is_reported_and_shown_to_the_hospital_only() -> None:
    found = sort(*PLAN_AND_DAY, planning=frozenset({"a", "9.9"}))
    assert roles(found) == ("a", [1])
    (line,) = found.rejections
    assert (line.reason, line.sources) == ("no CT series of the cohort has it", ("9.9",))
    assert "9.9" not in reasons(found)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="not there"):
        cohort_files(tmp_path / "none")
