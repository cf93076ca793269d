"""One runtime on one region, in a process of its own: `python -m bench.network MODEL BACKEND Z Y X REPEATS`."""

import json
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imaging.model import CpuBackend, load_model


@dataclass(frozen=True)
class NetworkTimes:
    backend: str
    provider: str
    size: tuple[int, int, int]
    seconds: tuple[float, ...]
    """One per pass, after one that is not counted."""
    peak_mib: float

    @property
    def median_s(self) -> float:
        return float(np.median(self.seconds))


def measure_apart(folder: Path, backend: CpuBackend, *, size: tuple[int, int, int], repeats: int) -> NetworkTimes:
    """Measure in a fresh process, so that one runtime's memory does not weigh on the other's."""
    command = [sys.executable, "-m", "bench.network", str(folder), backend, *(str(n) for n in size), str(repeats)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the network did not run on {backend}: {done.stderr.strip().splitlines()[-1:]}")
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return NetworkTimes(backend, found["provider"], size, tuple(found["seconds"]), found["peak_mib"])


def main() -> None:
    folder, backend, *numbers = sys.argv[1:]
    *size, repeats = (int(n) for n in numbers)
    model = load_model(Path(folder), device="cpu", cpu_backend=backend)  # type: ignore[arg-type]
    manifest = model.manifest
    rng = np.random.default_rng(0)
    image = rng.uniform(-1, 1, (1, 1, *size)).astype(np.float32)
    channels = len(manifest.organs) if manifest.label_encoding == "one-hot" else 1
    labels = np.zeros((1, channels, *size), dtype=np.float32)
    model.backend.run(image, image, labels)
    seconds = []
    for _ in range(repeats):
        begun = time.perf_counter()
        model.backend.run(image, image, labels)
        seconds.append(time.perf_counter() - begun)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"provider": model.provider, "seconds": seconds, "peak_mib": peak_mib}))


if __name__ == "__main__":
    main()
