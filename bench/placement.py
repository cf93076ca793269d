"""Where each operator of the refinement's graph really ran: ONNX Runtime puts one that CUDA lacks on the CPU, unsaid.

    python -m bench.placement [--device cuda]

What counts sizes (Shape and the like) belongs on the CPU; an operator of whole images there costs copies each time.
"""

import argparse
import json
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.markdown import table


def main() -> None:
    import onnxruntime

    from imaging.backends.fit_graph import FILE, GraphSteps, difference_mm
    from imaging.backends.onnx_runtime import CPU, CUDA

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cpu")
    cuda = parser.parse_args().device == "cuda"
    steps = GraphSteps(cuda=cuda)
    with TemporaryDirectory(prefix="recontour-placement-") as folder:
        options = onnxruntime.SessionOptions()
        options.enable_profiling, options.profile_file_prefix = True, str(Path(folder) / "profile")
        steps._session = onnxruntime.InferenceSession(str(FILE), options, providers=[CUDA, CPU] if cuda else [CPU])
        differs_mm = difference_mm(steps)
        events = json.loads(Path(steps._session.end_profiling()).read_text())
    print(placed(events))
    print(f"\nThe steps differ from the compiled ones by {differs_mm:.6f} mm.")


def placed(events: list[dict[str, Any]]) -> str:
    """A line per provider of a profile's events."""
    ran: dict[str, Counter[str]] = {}
    for event in events:
        where = event.get("args", {})
        if event.get("cat") == "Node" and where.get("provider"):
            ran.setdefault(where["provider"], Counter())[where["op_name"]] += 1
    rows = [
        (provider, ", ".join(f"{name} {count}" for name, count in sorted(operators.items())))
        for provider, operators in ran.items()
    ]
    return table(("provider", "operators, and how often each ran"), rows)


if __name__ == "__main__":
    main()
