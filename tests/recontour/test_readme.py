"""What the README tells a newcomer to type must be there."""

import re
from pathlib import Path

from recontour.virtual_patient import CaseFolders

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_the_case_of_the_readme_lies_where_the_phantom_command_writes_it() -> None:
    folders = CaseFolders(Path("case"))
    written = {str(folders.planning), str(folders.structures), str(folders.daily)}
    named = {path.rstrip("`") for path in re.findall(r"case/[\w./*]+", README)}
    assert {re.sub(r"/CT_\*\.dcm$", "", path) for path in named} == written


def test_every_command_of_the_readme_exists() -> None:
    source = (Path(__file__).parents[2] / "recontour" / "cli.py").read_text()
    for command in set(re.findall(r"\.venv/bin/recontour (\w+)", README)):
        assert f'add_parser("{command}"' in source.replace("\n        ", "").replace("\n", "")
