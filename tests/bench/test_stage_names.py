"""A stage has one name: in the answer, in GET /health/latency, in the histogram, in the documents, in the benchmark."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from bench.pelvis import write_pelvis
from bench.requests import Request, case_body, exchange, plan_body, staged_body
from bench.run_report import NETWORK, REFINEMENT
from tests.in_process import service_in_process

ROOT = Path(__file__).resolve().parents[2]
PLAN = "one"


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[Request]]]:
    folder = tmp_path_factory.mktemp("case")
    _, folders = write_pelvis(folder, seed=1, slices=30, in_plane=96, rois=6, spacing_mm=(4.8, 4.8, 6.0))
    with service_in_process() as url:
        bodies = [case_body(folders), plan_body(folders, PLAN), staged_body(folders, PLAN)]
        yield url, [exchange(url, body) for body in bodies]


def test_the_benchmark_sees_the_stages_that_the_service_remembers(answered: tuple[str, list[Request]]) -> None:
    url, (whole, _, _) = answered
    assert whole.status == 200
    remembered = httpx.get(f"{url}/health/latency", trust_env=False).json()["stages"]
    assert list(remembered) == list(whole.stages_s)


def test_the_histogram_has_the_same_stages_under_the_same_names(answered: tuple[str, list[Request]]) -> None:
    url, (whole, _, _) = answered
    text = httpx.get(f"{url}/metrics", trust_env=False).text
    counted = re.findall(r'recontour_request_duration_seconds_count\{outcome="answered",stage="(\w+)"\}', text)
    assert set(counted) == set(whole.stages_s)


def test_every_stage_is_documented_and_what_the_goals_leave_out_is_a_stage(
    answered: tuple[str, list[Request]],
) -> None:
    page = (ROOT / "docs" / "http.md").read_text()
    listed = re.search(r"milliseconds per stage: ([\w, ]+)", page)
    assert listed is not None
    documented = {name.strip() for name in listed.group(1).split(",")}
    assert set(answered[1][0].stages_s) <= documented
    assert {NETWORK, REFINEMENT} <= documented


def test_a_staged_plan_gives_the_same_bytes_without_reading_the_plan_again(
    answered: tuple[str, list[Request]],
) -> None:
    whole, plan, staged = answered[1]
    assert plan.status == 201
    assert staged.digest == whole.digest != ""
    assert set(staged.stages_s) < set(whole.stages_s)
    assert "read_structures" not in staged.stages_s
