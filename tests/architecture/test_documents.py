"""Documents that can be held against the code are: settings, problems, hazards, versions, links, commands."""

import ast
import re
import runpy
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

from imaging import errors
from service.problems import PROBLEMS
from service.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(
    [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "models").rglob("*.md"), *(ROOT / "training").rglob("*.md")]
)


@pytest.fixture(scope="module")
def reference() -> SimpleNamespace:
    """docs/reference.py, which writes the generated parts."""
    return SimpleNamespace(**runpy.run_path(str(DOCS / "reference.py")))


def version() -> str:
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


def family(root: type[errors.RecontouringError]) -> set[type[errors.RecontouringError]]:
    return {root}.union(*(family(kind) for kind in root.__subclasses__()))


def test_every_setting_is_in_the_deployment_page_as_it_is_in_the_code(reference: SimpleNamespace) -> None:
    page = (DOCS / "deploy.md").read_text()
    assert reference.with_settings(page) == page, "run: make docs"


def test_every_setting_says_what_it_means(reference: SimpleNamespace) -> None:
    rows = [row.split(" | ") for row in reference.settings_table().splitlines()[2:]]
    assert len(rows) >= len(Settings.model_fields)
    assert [name for name, _, meaning in rows if len(meaning.strip(" |")) < 8] == []


def test_every_problem_is_documented_with_what_to_do_next(reference: SimpleNamespace) -> None:
    assert (DOCS / "problems.md").read_text() == reference.problems_page(), "run: make docs"
    assert [code for code, kind in PROBLEMS.items() if len(kind.advice) < 10] == []


def test_everything_that_the_core_refuses_has_a_stable_code_and_a_status() -> None:
    kinds = family(errors.RecontouringError)
    assert sorted(kind.code for kind in kinds if kind.code not in PROBLEMS) == []
    assert len({kind.code for kind in kinds}) == len(kinds), "two errors share one code"
    assert [kind.__name__ for kind in kinds if not (kind.__doc__ or "").strip()] == []


def names_of_tests() -> set[str]:
    return {
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


def hazards() -> dict[str, str]:
    """Hazard number -> the last column of its row."""
    rows = [line.strip("|").split("|") for line in (DOCS / "hazards.md").read_text().splitlines()]
    return {cells[0].strip(): cells[-1] for cells in rows if cells[0].strip().startswith("H-")}


def test_every_hazard_is_controlled_by_tests_that_exist() -> None:
    """A control that nobody tests is a hope."""
    named = {hazard: set(re.findall(r"`(test_\w+)`", controls)) for hazard, controls in hazards().items()}
    assert len(named) >= 16
    assert [hazard for hazard, names in named.items() if not names] == []
    there = names_of_tests()
    assert {hazard: missing for hazard, names in named.items() if (missing := sorted(names - there))} == {}


def test_every_input_that_a_hazard_names_is_in_the_catalogue() -> None:
    catalogue = {line.split("|")[1].strip() for line in (DOCS / "inputs.md").read_text().splitlines() if "|" in line}
    named = {name for controls in hazards().values() for name in re.findall(r"\*([^*]+)\*", controls)}
    assert named
    assert sorted(named - catalogue) == []


def test_the_readme_can_be_read_in_five_minutes() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_the_changelog_names_this_version_and_what_it_means_for_the_patient() -> None:
    sections = re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)[1:]
    assert sections[0].startswith(f"[{version()}]")
    assert [section.splitlines()[0] for section in sections if "Clinical impact: " not in section] == []


def test_links_in_the_pages_lead_somewhere() -> None:
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in PAGES
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text())
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert broken == []


def test_commands_in_the_pages_are_targets_of_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = {
        (page.name, target)
        for page in PAGES
        for target in re.findall(r"(?:`|^ {4}|^\$ )make ([a-z][a-z-]*)", page.read_text(), flags=re.MULTILINE)
    }
    assert named, "the pages name no command at all"
    assert sorted((page, target) for page, target in named if target not in targets) == []


def test_decisions_are_short_and_numbered() -> None:
    pages = sorted((DOCS / "decisions").glob("*.md"))
    assert [page.name for page in pages if not re.match(r"\d{4}-[a-z0-9-]+\.md$", page.name)] == []
    assert len({page.name[:4] for page in pages}) == len(pages)
    assert [page.name for page in pages if len(page.read_text().splitlines()) > 60] == []
