"""Tables of the benchmarks: read off JSON, goals met or missed, nothing claimed that was not measured."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import peers_report
from bench.goals import Goal, goal_table
from bench.markdown import table, write_report
from bench.page import HEAD, page
from bench.pelvis import cut_edges
from bench.providers import as_markdown as providers_markdown
from bench.providers import difference
from bench.requests import everything_but
from bench.run_report import as_markdown, goals_of, served

STAGES = {"receive": 0.2, "queue": 0.01, "parse": 0.1, "network": 0.9, "refinement": 0.3, "total": 1.7}


def request(**changed: float) -> dict[str, Any]:
    stages = STAGES | changed
    return {"status": 200, "wall_s": 1.8, "answer_s": 1.55, "stages_s": stages, "cpu_s": 2.0, "digest": "a"}


def standard(**changed: Any) -> dict[str, Any]:
    clients = {"clients": 4, "kind": "whole", "wall_s": [1.0, 2.0], "served_s": [0.9, 0.95], "queue_s": [0, 1]}
    return {
        "kind": "standard",
        "machine": {"processor": "one"},
        "case": {"what": "2 x 100 slices", "slices": 100, "in_plane": 512, "rois": 20, "body_mib": 105.0},
        "settings": {"model": "prostate-ct", "region": [160, 160, 160], "device": "auto"},
        "provider": "OpenVINO CPU bf16",
        "starts": [{"ready_s": 5.0, "first_s": 2.0}],
        "whole": [request(), request(), request()],
        "staged": [request(parse=0.05, total=1.4)] * 3,
        "clients": [{**clients, "refused": 0, "failed": 0}],
        "memory_mib": {"after warm requests": 2000.0, "after the staged plan": 2100.0},
        "device_mib": None,
        "identical": True,
        **changed,
    }


def verdicts(content: dict[str, Any]) -> dict[str, str]:
    return {goal.what: goal.verdict for goal in goals_of(content)}


def test_a_goal_is_met_at_its_limit_and_missed_beyond_and_open_without_a_value() -> None:
    assert [Goal("", value, 2.0, "s").verdict for value in (2.0, 2.01, None)] == ["met", "MISSED", "not measured"]
    assert [Goal("", value, 20.0, "times", at_least=True).verdict for value in (20.0, 19.9)] == ["met", "MISSED"]


def test_the_table_of_goals_says_why_one_is_open() -> None:
    text = goal_table([Goal("network", None, 30, "ms", why_open="no CUDA here"), Goal("request", 0.4567, 0.5, "s")])
    assert "| network | no CUDA here | at most 30 ms | not measured |" in text
    assert "| request | 0.457 s | at most 0.5 s | met |" in text


def test_the_clock_from_the_last_byte_leaves_out_receiving() -> None:
    assert served([request()]) == [pytest.approx(1.5)]


def test_everything_but_network_and_refinement_leaves_out_waiting_too() -> None:
    assert everything_but(STAGES, "network", "refinement") == pytest.approx(1.7 - 0.2 - 0.01 - 0.9 - 0.3)


def test_goals_of_the_standard_case_on_two_cores() -> None:
    found = verdicts(standard())
    assert found["all but network and refinement, median"] == "met"  # 0.29 s
    assert found["the same with a staged plan"] == "met"  # -0.01 s
    assert found["whole request, median"] == "met"  # 1.5 s
    assert found["peak memory, requests one after another"] == "met"  # 2.05 GiB
    assert {verdict for what, verdict in found.items() if what.startswith("with a GPU")} == {"not measured"}
    slow = standard(whole=[request(total=2.6)] * 3)
    assert verdicts(slow)["whole request, median"] == "MISSED"  # 2.4 s


def test_another_case_or_region_judges_no_goal_that_depends_on_it() -> None:
    small = standard()
    small["case"] = small["case"] | {"slices": 30}
    assert set(verdicts(small).values()) == {"met", "not measured"}
    assert verdicts(small)["cold start to ready, median"] == "met"
    other = standard(settings={"model": "prostate-ct", "region": [96, 96, 96], "device": "auto"})
    assert verdicts(other)["whole request, median"] == "not measured"
    assert verdicts(other)["all but network and refinement, median"] == "met"


def test_a_gpu_is_judged_by_its_own_goals() -> None:
    found = verdicts(standard(provider="CUDAExecutionProvider"))
    assert found["with a GPU: 4 requests at once, the slowest"] == "met"
    assert found["with a GPU: whole request, p50"] == "MISSED"
    assert "peak memory, requests one after another" not in found


def test_the_report_has_every_stage_and_both_clocks() -> None:
    text = as_markdown(standard())
    for line in ("| `parse` | 100 | 50 |", "| `network` | 900 | 900 |", "| client, whole, p95 | 1800 | 1800 |"):
        assert line in text
    assert "| whole | 4 | 1.00 | 2.00 | 0.90 | 0.95 | 2 | 0 | 0 |" in text


def test_a_column_of_numbers_stands_right_and_a_missing_one_is_a_dash() -> None:
    assert table(("a", "b"), [("x", 1.25), ("y", None)], digits=1) == "\n".join(
        ["| a | b |", "| --- | ---: |", "| x | 1.2 |", "| y | - |"]
    )


def test_the_text_is_made_from_what_the_json_holds(tmp_path: Path) -> None:
    out = tmp_path / "x"
    text = write_report(out, standard(), as_markdown)
    assert out.with_suffix(".md").read_text() == text + "\n"
    assert as_markdown(json.loads(out.with_suffix(".json").read_text())) == text


def test_peers_are_told_as_ratios_and_the_fast_but_worse_one_misses() -> None:
    def method(name: str, seconds: float, mean_mm: float) -> dict[str, Any]:
        scores = {"Bladder": {"dice": 0.9, "mean_mm": mean_mm, "hd95_mm": 3.0}}
        return {"name": name, "what": name, "runs": [{"wall_s": seconds, "cpu_s": seconds, "scores": scores}]}

    content = {"kind": "peers", "machine": {}, "case": "", "threads": 2, "skipped": {"demons": "not installed"}}
    content["methods"] = [
        method("registration", 0.5, 1.0),
        method("elastix-a", 10.0, 1.0),
        method("elastix-b", 9.0, 0.9),
    ]
    assert [goal.verdict for goal in peers_report.goals_of(content)] == ["met", "met", "MISSED", "MISSED"]
    text = peers_report.as_markdown(content)
    assert "| elastix-a | 10.00 | 10.00 | 20.0 | 1.000 | 1 |" in text
    assert "Skipped: demons: not installed." in text


def test_providers_that_are_not_there_are_named_with_the_reason() -> None:
    one = {"name": "onnxruntime-cpu", "what": "ONNX Runtime CPU", "provider": "CPUExecutionProvider"}
    one |= {"seconds": [0.2, 0.4, 0.3], "peak_mib": 700.0, "device_mib": None, "difference": None}
    content = {"machine": {}, "region": "160x160x160", "voxels": 160**3, "providers": [one]}
    text = providers_markdown({**content, "skipped": {"CUDA": "this onnxruntime has no CUDA provider"}})
    assert "| ONNX Runtime CPU (CPUExecutionProvider) | 300 | 200 |" in text
    assert "Skipped: CUDA: this onnxruntime has no CUDA provider." in text
    assert "no CUDA here" in text


def test_outputs_differ_by_the_length_of_a_vector_and_by_labels(tmp_path: Path) -> None:
    dvf, segmentation = np.zeros((1, 3, 2, 2, 2)), np.zeros((1, 2, 2, 2, 2))
    segmentation[:, 0] = 1
    segmentation[0, :, 0, 0, 0] = 0, 1
    np.savez(tmp_path / "a.npz", dvf=dvf, segmentation=segmentation)
    dvf[0, :, 0, 0, 0] = 0, 3, 4
    segmentation[0, :, 1, 1, 1] = 0, 1
    np.savez(tmp_path / "b.npz", dvf=dvf, segmentation=segmentation)
    found = difference(tmp_path / "b.npz", tmp_path / "a.npz")
    assert found is not None
    assert (found["dvf_max_mm"], found["labels_changed"], found["labels"]) == (5.0, 1, 1)
    assert difference(tmp_path / "b.npz", tmp_path / "none.npz") is None


def test_finer_contours_are_the_same_lines() -> None:
    square = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [0.0, 4.0]])
    finer = cut_edges(square, 2)
    assert finer.tolist() == [[0, 0], [2, 0], [4, 0], [4, 2], [4, 4], [2, 4], [0, 4], [0, 2]]


def test_the_page_has_each_run_with_its_file_and_its_pictures(tmp_path: Path) -> None:
    write_report(tmp_path / "cpu", standard(), as_markdown)
    (tmp_path / "cpu.png").touch()
    text = page([tmp_path / "cpu.json"])
    assert text.startswith(HEAD)
    assert "## One request: 2 x 100 slices" in text
    assert "[cpu.json](" in text
    assert "![cpu.png](" in text
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match="not the JSON of a benchmark"):
        page([tmp_path / "other.json"])


def test_a_page_without_measurements_says_so() -> None:
    assert page([]).endswith("Nothing has been measured yet.")
