import argparse
import importlib
import re
import shlex
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="training needs the extra 'training'")
pytest.importorskip("itk", reason="elastix needs the extra 'baselines'")

from training.__main__ import COMMANDS

ROOT = Path(__file__).parents[2]
LINE = re.compile(r"python -m training (\w+) ([^`#\n]+)")
FOUND = [
    (file.name, *match.groups())
    for file in (ROOT / "training" / "README.md", ROOT / "docs" / "reproduction.md")
    for match in LINE.finditer(file.read_text())
    if match.group(1) in COMMANDS and not match.group(2).startswith("...")
]


@pytest.mark.parametrize(("file", "command", "words"), FOUND)
def test_a_command_of_the_documentation_is_one_that_the_program_takes(file, command, words):
    parser = argparse.ArgumentParser(exit_on_error=False)
    importlib.import_module(COMMANDS[command][0]).add_arguments(parser)
    parser.parse_args(shlex.split(words.replace("[", "").replace("]", "").replace("...", "")))


def test_the_way_in_is_there():
    assert {command for file, command, _ in FOUND if file == "README.md"} >= {"prepare", "train", "evaluate", "export"}
