"""openapi.yaml is what the code serves."""

from pathlib import Path
from typing import Any

import yaml

from service import openapi
from service.problems import PROBLEMS

FILE = Path(__file__).resolve().parents[2] / "openapi.yaml"


def references(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*(references(value) for value in node.values()))
    if isinstance(node, list):
        return set().union(*(references(value) for value in node))
    return set()


def test_the_committed_file_is_the_generated_one():
    assert FILE.read_text() == openapi.as_yaml(), "run `make openapi`"


def test_the_file_reads_back_as_the_document_that_is_served():
    assert yaml.safe_load(FILE.read_text()) == openapi.document()


def test_every_reference_has_its_component():
    document = openapi.document()
    for reference in references(document):
        node = document
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]


def test_every_route_of_the_contract_is_described():
    assert {
        "/recontour", "/plans/{id}", "/jobs/{id}", "/jobs/{id}/result", "/models", "/models/{name}", "/limits",
        "/health/live", "/health/ready", "/health/latency", "/metrics", "/problems", "/problems/{code}",
    } == set(openapi.document()["paths"])  # fmt: skip


def test_recontour_describes_every_request_and_answer_form_and_its_problems():
    post = openapi.document()["paths"]["/recontour"]["post"]
    assert set(post["requestBody"]["content"]) == {"multipart/form-data", "multipart/related", "application/zip"}
    assert set(post["responses"]["200"]["content"]) == {
        "application/dicom", "multipart/related", "application/zip", "application/json",
    }  # fmt: skip
    assert set(post["responses"]) == {
        "200", "202", "400", "401", "404", "406", "408", "413", "415", "422", "429", "500", "503", "504",
    }  # fmt: skip
    for status, response in post["responses"].items():
        if int(status) >= 400:
            assert list(response["content"]) == ["application/problem+json"]


def test_every_problem_has_an_example():
    examples = openapi.document()["components"]["examples"]
    assert {code: example["value"]["type"] for code, example in examples.items()} == {
        code: f"/problems/{code}" for code in PROBLEMS
    }
