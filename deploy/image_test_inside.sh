#!/usr/bin/env bash
# The second half of image_test.sh, in namespaces of its own (network, mounts, processes): run by it, not by hand.
set -euo pipefail
root=$IMAGE_TEST_ROOT work=$IMAGE_TEST_WORK bin=$IMAGE_TEST_BIN
port=8000
key=only-for-this-test-0123456789abcdef
url=http://127.0.0.1:$port

fail() { echo "image-test: $*" >&2; tail -n 40 "$work/service.log" >&2 2>/dev/null || true; exit 1; }

ip link set lo up
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --bind -o ro /sys "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero random urandom; do
  touch "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/shm"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -o remount,bind,ro "$root"

mapfile -t environment < <(jq -r '.Env[]' "$work/config.json")
mapfile -t command < <(jq -r '(.Entrypoint + .Cmd)[]' "$work/config.json")
mapfile -t probe < <(jq -r '.Healthcheck.Test[1:][]' "$work/config.json")

# As a container runtime with cap_drop ALL and no-new-privileges would run it.
as_user=(chroot "$root" setpriv --reuid=10001 --regid=10001 --clear-groups --no-new-privs --bounding-set=-all
  --inh-caps=-all env -i "${environment[@]}")

if "${as_user[@]}" touch /opt/recontour/x 2>/dev/null || touch "$root/opt/x" 2>/dev/null; then fail "the root is not read-only"; fi
if "${as_user[@]}" "${probe[@]}" >/dev/null 2>&1; then fail "the health check passes with no service behind it"; fi
if "${as_user[@]}" timeout 60 "${command[@]}" >"$work/service.log" 2>&1; then fail "it started on all addresses without a key"; fi
grep -qi 'key\|insecure' "$work/service.log" || fail "it refused to start without a key, but does not say so"

"${as_user[@]}" RECONTOUR_API_KEY_SHA256="$(printf %s "$key" | sha256sum | cut -d" " -f1)" "${command[@]}" >"$work/service.log" 2>&1 &
service=$!
started=$SECONDS
until "${as_user[@]}" "${probe[@]}" >/dev/null 2>&1; do
  kill -0 "$service" 2>/dev/null || fail "the service ended before it was ready"
  [ $((SECONDS - started)) -lt 600 ] || fail "not ready after 600 s"
  sleep 1
done
echo "ready after $((SECONDS - started)) s"

export NO_PROXY=127.0.0.1
"$bin/recontour" phantom --out "$work/case" --seed 1
if RECONTOUR_API_KEY=wrong "$bin/recontour" send "$work/case/planning" "$work/case/planning/RS.dcm" "$work/case/daily" \
  --url "$url" --out "$work/nothing" >"$work/refused.log" 2>&1; then fail "a case was answered to a wrong key"; fi
grep -q 401 "$work/refused.log" || fail "a wrong key was not answered with 401: $(cat "$work/refused.log")"
RECONTOUR_API_KEY="$key" "$bin/recontour" send "$work/case/planning" "$work/case/planning/RS.dcm" "$work/case/daily" \
  --url "$url" --out "$work/answer"

"$bin/python" - "$work" "$url" <<'PYTHON'
"""Read the answer as a TPS would, and look at what the service says of itself."""
import json
import sys
import urllib.request
from pathlib import Path

import pydicom

work, url = Path(sys.argv[1]), sys.argv[2]
daily = {str(pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID) for file in (work / "case/daily").iterdir()}
plan = pydicom.dcmread(work / "case/planning/RS.dcm")
names = {str(roi.ROIName) for roi in plan.StructureSetROISequence}
structure_sets = [pydicom.dcmread(file) for file in sorted((work / "answer").glob("*.dcm"))]
assert len(structure_sets) >= 2, "fewer than two structure sets came back"
for found in structure_sets:
    assert found.Modality == "RTSTRUCT" and found.ApprovalStatus == "UNAPPROVED"
    images = {
        str(contour.ContourImageSequence[0].ReferencedSOPInstanceUID)
        for roi in found.ROIContourSequence
        for contour in roi.get("ContourSequence", [])
    }
    assert images and images <= daily, "contours do not lie on the daily CT"
    print(f"{found.SeriesDescription}: {len(found.StructureSetROISequence)} ROIs on {len(images)} slices")
assert any({str(roi.ROIName) for roi in found.StructureSetROISequence} == names for found in structure_sets)
with urllib.request.urlopen(f"{url}/health/ready", timeout=10) as answer:
    print("readiness:", json.dumps(json.load(answer))[:600])
PYTHON

written=$(find "$root/tmp" -type f | sed "s#^$root##" | grep -v '^/tmp/numba/' || true)
[ -z "$written" ] || fail "the service left files: $written"

kill -TERM "$service"
status=0
wait "$service" || status=$?
[ "$status" = 0 ] || fail "SIGTERM ended it with status $status"
echo "SIGTERM ended it with status 0"
