"""Two services on one machine that differ by environment variables, asked in turn: what does a setting cost?

    python -m bench.versus RECONTOUR_KEEP_MEMORY=false
    python -m bench.versus OPENBLAS_NUM_THREADS=2 --requests 25
    python -m bench.versus RECONTOUR_MODELS_DIR=/old/models     another file of the network

The standard case goes to one and then to the other, so that what else happens on the machine meets both. Of each stage
stand the median with the variables, the one without, and the median of the ratios of the pairs.
"""

import argparse
import tempfile
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from statistics import median

from bench.fixed_region import with_region
from bench.markdown import table, tell
from bench.pelvis import write_pelvis
from bench.requests import Request, case_body, everything_but, median_stages, send
from bench.run import REGION
from recontour.local_service import LocalService, local_service

WARM = 3
MODEL = "prostate-ct"


def main() -> None:
    options = _parser().parse_args()
    variables = dict(setting.split("=", 1) for setting in options.settings)
    with tempfile.TemporaryDirectory(prefix="recontour-versus-") as folder, ExitStack() as services:
        tell("making the case")
        _, folders = write_pelvis(Path(folder) / "case", seed=1, slices=100, in_plane=512, rois=20)
        body = case_body(folders)
        both = [
            services.enter_context(_service(names, scratch=Path(folder) / side))
            for side, names in (("with", variables), ("without", {}))
        ]
        pairs: list[tuple[Request, Request]] = []
        for number in range(WARM + options.requests):
            first, second = (both[(number + n) % 2] for n in range(2))
            asked = {service.pid: send(service, body) for service in (first, second)}
            if number >= WARM:
                pairs.append((asked[both[0].pid], asked[both[1].pid]))
    print(f"{' '.join(options.settings)}, {len(pairs)} pairs of requests, milliseconds of the service's clock\n")
    print(report(pairs))


def _service(variables: dict[str, str], *, scratch: Path) -> AbstractContextManager[LocalService]:
    model = variables.get("RECONTOUR_MODEL", MODEL)
    models = with_region(Path(variables.get("RECONTOUR_MODELS_DIR", "models")), model, REGION, scratch)
    return local_service(["--models-dir", str(models), "--model", model], environment=variables)


def report(pairs: list[tuple[Request, Request]]) -> str:
    """The table of all stages, as Markdown."""
    with_it, without = ([_stages(pair[n]) for pair in pairs] for n in range(2))
    medians = [median_stages(side) for side in (with_it, without)]
    rows = [
        (
            f"`{name}`",
            *(f"{1000 * side[name]:.0f}" for side in medians),
            f"{median(a[name] / b[name] for a, b in zip(with_it, without, strict=True) if b[name] > 0):.2f}",
        )
        for name in medians[0]
        if medians[1][name] >= 0.001
    ]
    return table(["stage", "with", "without", "ratio"], rows)


def _stages(request: Request) -> dict[str, float]:
    if not request.ok:
        raise SystemExit(f"a request was answered with {request.status}")
    rest = everything_but(request.stages_s, "network", "refinement")
    return {**request.stages_s, "all but network and refinement": rest, "served": request.served_s}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", nargs="+", metavar="NAME=VALUE", help="environment of the first service")
    parser.add_argument("--requests", type=int, default=15, help="measured pairs")
    return parser


if __name__ == "__main__":
    main()
