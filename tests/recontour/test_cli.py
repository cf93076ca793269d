import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from recontour.cli import main
from service.settings import NO_MODEL


def test_the_version_is_that_of_the_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.strip() == f"recontour {version('recontour')}"


@pytest.mark.parametrize(
    "arguments", [[], ["fly"], ["phantom"], ["send", "a", "b"], ["phantom", "--out", "x", "--clinic", "C"]]
)
def test_a_wrong_command_line_ends_with_two(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


def case(tmp_path: Path) -> list[str]:
    for name in ("planning", "daily"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.dcm").write_bytes(b"no DICOM at all")
    (tmp_path / "rtss.dcm").write_bytes(b"no DICOM at all")
    return [str(tmp_path / name) for name in ("planning", "rtss.dcm", "daily")] + ["--out", str(tmp_path / "out")]


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("recontour: ")
    assert not any("Traceback" in line for line in lines)
    return lines[-1]


def test_a_missing_service_is_one_line_and_three(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["send", *case(tmp_path), "--url", "http://127.0.0.1:1"]) == 3
    assert "no service answered" in one_line(capsys)


def test_a_folder_that_is_not_there_is_one_line_and_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = str(tmp_path / "nowhere")
    assert main(["send", missing, missing, missing, "--out", str(tmp_path / "out")]) == 2
    assert "planning_ct: the folder or file is missing" in one_line(capsys)


def test_files_that_are_no_dicom_are_refused_offline_with_one_line_and_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *case(tmp_path), "--model", NO_MODEL]) == 1
    assert "DICOM" in one_line(capsys)
    assert not (tmp_path / "out").exists()


def test_a_misspelt_setting_is_one_line_and_two(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RECONTOUR_MODLE", "prostate-ct")
    assert main(["run", *case(tmp_path)]) == 2
    assert "RECONTOUR_MODLE" in one_line(capsys)


def test_listening_beyond_loopback_without_a_key_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--host", "0.0.0.0"]) == 2
    assert "--insecure" in one_line(capsys)


def test_a_folder_without_the_model_is_named_where_the_service_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("service.server.run", lambda *_, **__: None)
    main(["serve", "--models-dir", str(tmp_path)])
    assert f"no prostate-ct in {tmp_path}: name its folder by --models-dir" in one_line(capsys)
    main(["serve", "--models-dir", str(tmp_path), "--model", "none"])
    assert not capsys.readouterr().err


def test_the_key_of_the_environment_is_never_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RECONTOUR_API_KEY", "very-secret")
    with pytest.raises(SystemExit):
        main(["send", "--help"])
    assert "very-secret" not in capsys.readouterr().out


def test_the_client_loads_neither_phantom_nor_numba() -> None:
    heavy = "('phantom', 'numba', 'matplotlib')"
    code = f"import sys, recontour.cli, recontour.client; sys.exit(any(m in sys.modules for m in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
