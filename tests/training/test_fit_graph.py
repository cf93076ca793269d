"""The graph in the package is the one that its module writes."""
# ruff: noqa: E402 - nothing below the first lines can be imported without torch

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="training needs the extra 'training'")
onnx = pytest.importorskip("onnx", reason="the ONNX exporter needs the extra 'training'")
pytest.importorskip("onnxruntime", reason="the graph's file stands beside who runs it, in the extra 'cpu'")
pytest.importorskip("onnxscript", reason="the ONNX exporter needs the extra 'training'")

from imaging.backends.fit_graph import FILE, INPUTS, OUTPUT
from training.fit_graph import write


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
def test_the_graph_in_the_package_is_the_one_that_its_module_writes(tmp_path: Path) -> None:
    write(tmp_path / "again.onnx")
    shipped, again = (onnx.load(str(file)).graph for file in (FILE, tmp_path / "again.onnx"))
    assert [one.name for one in shipped.input] == list(INPUTS)
    assert [one.name for one in shipped.output] == [OUTPUT]
    assert list(shipped.node) == list(again.node)
    assert list(shipped.initializer) == list(again.initializer)
