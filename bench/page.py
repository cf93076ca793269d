"""docs/performance.md, read off the JSON of the benchmarks: `make bench-page`.

Every number on the page comes from one of these files; the head says what was measured and how.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import compressed, growth_report, peers_report, providers, run_report
from bench.markdown import facts, table

DOCS = Path(__file__).resolve().parents[1] / "docs"
ORDER = ("standard", "compressed", "cold-start", "providers", "growth", "peers")
HEAD = """# Performance

Written by `make bench-page` from the files in `docs/benchmarks/`; every number stands in one of them, with the machine
that it was taken on. None of them is a promise for another machine: run the same commands on yours.

**What is measured.** All cases are phantoms: virtual patients with computed CTs and contours. They cost what patients
cost, and say nothing about how good the contours of a patient are; [acceptance.md](acceptance.md) is about that. The
standard case is 2 x 100 slices of 512x512 with 20 ROIs, the phantom's own and ellipsoids of 80 slices and 150 corners.

**Which clock.** Requests go over HTTP on loopback. The service's clock runs from the last byte of the request to the
first byte of the answer: `total` without `receive`. The client's clocks, from the last byte handed to its kernel and
from the opening of the connection, stand beside it. Stages have the names of `Server-Timing`, `/health/latency` and the
histogram of `/metrics`; some run beside each other, so their sum may exceed the total. p95 is by nearest rank.

**How to trust it.** Each table says which share of the cores other processes took. Where that is more than a few per
cent, wall clocks are too long, and only ratios within one run mean something.

| command | what |
| --- | --- |
| `make bench` | one request stage by stage, cold starts, staged plan, many clients at once, memory |
| `make bench-providers` | the network alone on every runtime and precision |
| `make bench-compressed` | a CT in JPEG 2000, JPEG-LS and JPEG lossless beside native pixels |
| `make bench-growth` | how each stage grows with the case |
| `make bench-peers` | beside elastix, demons, plastimatch and ConvexAdam |
| `make bench-regression` | whether a stage became slower; also in CI |
| `python -m bench.versus NAME=VALUE` | two services that differ by environment variables, asked in turn |
| `bench/gpu.sh` | all that concerns a GPU, on a machine that has one |"""

Content = Mapping[str, Any]


def main() -> None:
    print(page([Path(name) for name in sys.argv[1:]]))


def page(files: Sequence[Path]) -> str:
    """The whole page; without files it says that nothing was measured yet."""
    found = [(file, json.loads(file.read_text(encoding="utf-8"))) for file in sorted(files)]
    found.sort(key=lambda one: ORDER.index(kind_of(one[1])))
    parts = [HEAD]
    for file, content in found:
        where = Path(os.path.relpath(file.resolve(), DOCS))
        parts += [RENDERERS[kind_of(content)](content), f"Raw numbers: [{where.name}]({where.as_posix()})."]
        parts += [f"![{name}]({(where.parent / name).as_posix()})" for name in pictures(file)]
    if not found:
        parts.append("Nothing has been measured yet.")
    return "\n\n".join(parts)


def pictures(file: Path) -> list[str]:
    """The pictures of a run: NAME.png and NAME-*.png beside NAME.json, but for those of a run of that longer name."""
    there = [*file.parent.glob(f"{file.stem}.png"), *file.parent.glob(f"{file.stem}-*.png")]
    return sorted(one.name for one in there if one.stem == file.stem or not one.with_suffix(".json").exists())


def kind_of(content: Content) -> str:
    """Which benchmark wrote this.

    Raises:
        ValueError: If none of them did.
    """
    kind = content.get("kind") or ("cold-start" if "times" in content else "")
    if kind not in RENDERERS:
        raise ValueError(f"not the JSON of a benchmark: kind {kind!r}")
    return str(kind)


def cold_starts(content: Content) -> str:
    """The table of `bench.cold_start`."""
    rows = [(one["what"], one["wall_s"], one["cpu_s"]) for one in content["times"]]
    text = table(("seconds, least of all repeats", "wall", "processor"), rows, digits=1)
    return f"## Cold starts, {content['repeats']} of each\n\n{facts(content['machine'])}\n\n{text}"


RENDERERS: Mapping[str, Callable[[Content], str]] = {
    "standard": run_report.as_markdown,
    "compressed": compressed.as_markdown,
    "cold-start": cold_starts,
    "providers": providers.as_markdown,
    "growth": growth_report.as_markdown,
    "peers": peers_report.as_markdown,
}


if __name__ == "__main__":
    main()
