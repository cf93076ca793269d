#!/usr/bin/env bash
# All that is to be known of a GPU, in one command of under ten minutes: bench/gpu.sh [WHEELS] [OUT]
#
# WHEELS  a folder of wheels, or one wheel of onnxruntime-gpu, for a machine that reaches no package index; what the
#         machine's own Python already has (PyTorch, CUDA 13, cuDNN 9) is then used from there. '' for the index.
# OUT     where results go, by default out/gpu.
#
# Ends with 0 when everything ran, 1 when something failed or a goal was missed, 3 where there is no GPU to measure.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

WHEELS="${1:-}"
OUT="${2:-out/gpu}"
PYTHON="${PYTHON:-python3}"
LIMIT_S=570
STARTED=$SECONDS
SKIPPED=()
FAILED=0

say() { printf '\n=== %s (%d s so far)\n' "$1" "$((SECONDS - STARTED))"; }
skip() { SKIPPED+=("$1"); printf 'SKIPPED: %s\n' "$1"; }
left() { echo $((LIMIT_S - (SECONDS - STARTED))); }

# Runs a step within what is left of the time, or says that it was skipped: step NAME MOST_SECONDS COMMAND...
step() {
  local name="$1" most="$2" rest
  shift 2
  rest=$(left)
  if [ "$rest" -lt 20 ]; then
    skip "$name: no time left"
    return 1
  fi
  say "$name"
  timeout "$((rest < most ? rest : most))" "$@"
  local status=$?
  if [ "$status" -eq 124 ]; then
    skip "$name: not done within $((rest < most ? rest : most)) s"
  elif [ "$status" -ne 0 ]; then
    FAILED=1
    echo "FAILED: $name ended with $status"
  fi
  return "$status"
}

if ! nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader 2>/dev/null; then
  echo "There is no NVIDIA GPU here (nvidia-smi does not answer): nothing was measured."
  exit 3
fi
mkdir -p "$OUT"
OUT="$(cd "$OUT" && pwd)"
VENV="$OUT/venv"
BIN="$VENV/bin"

say "an environment with recontour[gpu]"
"$PYTHON" -m venv "$VENV" || { echo "'$PYTHON -m venv' failed"; exit 1; }
# The machine's own packages come after those of the environment; a venv made from a venv would not see them.
"$PYTHON" -c 'import site; print("\n".join(site.getsitepackages()))' \
  > "$("$BIN/python" -c 'import site; print(site.getsitepackages()[0])')/machine.pth"
if [ -n "$WHEELS" ]; then
  # Python 3.11 puts an old setuptools into every environment, before the machine's own.
  "$BIN/python" -m pip uninstall -q -y setuptools >/dev/null 2>&1
  if [ -d "$WHEELS" ]; then
    timeout 240 "$BIN/python" -m pip install -q --no-index --no-deps --find-links "$WHEELS" "$WHEELS"/*.whl
  else
    timeout 240 "$BIN/python" -m pip install -q --no-index --no-deps "$WHEELS"
  fi || { echo "the wheels in $WHEELS could not be installed"; exit 1; }
  timeout 120 "$BIN/python" -m pip install -q --no-index --no-deps --no-build-isolation --editable . ||
    { echo "recontour could not be installed without an index: setuptools>=77 is needed beside the wheels"; exit 1; }
else
  timeout 300 "$BIN/python" -m pip install -q --editable '.[gpu]' 'onnx>=1.17' 'pytest>=8' 'matplotlib>=3.9' ||
    { echo "pip install '.[gpu]' failed; name a folder of wheels as the first argument"; exit 1; }
fi
# CUDA's and cuDNN's libraries, wherever pip or PyTorch put them.
LD_LIBRARY_PATH="$("$BIN/python" -c '
import glob, os, site, sys
print(":".join(sorted({os.path.dirname(f) for p in sys.path if p for f in glob.glob(f"{p}/nvidia/**/lib*.so*", recursive=True)})))
'):${LD_LIBRARY_PATH:-}"
export LD_LIBRARY_PATH
step "compiled kernels" 120 "$BIN/recontour" warm

"$BIN/python" - <<'PY' || { echo "The CUDA provider does not run here: nothing was measured."; exit 3; }
import sys
from importlib.util import find_spec
from pathlib import Path

if not find_spec("onnxruntime"):
    sys.exit("onnxruntime-gpu is not installed")
from imaging.errors import RecontouringError
from imaging.model import load_model
from service.pipeline import model_folder

try:
    print(load_model(model_folder(Path("models"), "prostate-ct"), device="cuda").provider)
except RecontouringError as error:
    sys.exit(str(error))
PY

for package in onnx matplotlib pytest; do
  "$BIN/python" -c "import $package" 2>/dev/null || skip "what needs the package $package"
done

step "golden case on the GPU" 60 "$BIN/python" - <<'PY'
from pathlib import Path

from imaging.model import load_model
from service.pipeline import model_folder

model = load_model(model_folder(Path("models"), "prostate-ct"), device="cuda")
print(f"99th percentile of the difference: {model.self_test():.5f}, allowed {model.manifest.golden_tolerance}")
PY
step "one request, staged plan, 1, 2 and 4 at once" 180 "$BIN/python" -m bench --device cuda --clients 1,2,4 --starts 2 \
  --requests 21 --report-only --out "$OUT/standard-gpu"
step "the network on every precision" 120 "$BIN/python" -m bench.providers --repeats 15 --only cuda-fp32 \
  --only cuda-tf32 --only cuda-fp16 --out "$OUT/providers-gpu"
step "where the operators of the refinement's graph run" 30 "$BIN/python" -m bench.placement --device cuda
step "region sizes" 60 "$BIN/python" -m bench.growth --axis region --device cuda --out "$OUT/growth-gpu"
step "the refinement's steps on the CPU beside those on the GPU" 110 env RECONTOUR_DEVICE=cuda "$BIN/python" -m \
  bench.versus RECONTOUR_REFINEMENT_DEVICE=cpu --requests 7

say "goals"
"$BIN/python" - "$OUT" <<'PY'
import json
import sys
from pathlib import Path

from bench import providers, run_report
from bench.goals import MISSED, goal_table

goals = []
for name, module in (("standard-gpu", run_report), ("providers-gpu", providers)):
    file = Path(sys.argv[1]) / f"{name}.json"
    if file.is_file():
        goals += module.goals_of(json.loads(file.read_text()))
print(goal_table(goals) if goals else "nothing was measured")
sys.exit(1 if not goals or MISSED in [goal.verdict for goal in goals] else 0)
PY
MISSED=$?
for what in "${SKIPPED[@]:-}"; do
  [ -n "$what" ] && echo "skipped: $what"
done
echo "took $((SECONDS - STARTED)) s; results in $OUT"
exit $((FAILED || MISSED))
