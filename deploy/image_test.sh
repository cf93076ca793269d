#!/usr/bin/env bash
# Builds the CPU image on a fresh Debian, looks into it, starts its service as the runtime would (UID 10001, read-only
# root, no network but its own loopback) and sends it a virtual patient. Needs root, buildah, mmdebstrap; no daemon.
#
# Usage: deploy/image_test.sh [BIN]     BIN: the folder with the `recontour` command that plays the client
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bin=$(realpath "${1:-.venv/bin}")
base=localhost/recontour-test-base
image=localhost/recontour-test
work=$(mktemp -d /tmp/recontour-image-test.XXXXXX)
container=

fail() { echo "image-test: $*" >&2; exit 1; }
say() { printf '\n--- %s\n' "$*"; }

clean_up() {
  if [ -n "$container" ]; then buildah rm "$container" >/dev/null 2>&1 || true; fi
  if [ -z "${KEEP_IMAGE:-}" ]; then buildah rmi "$image" "$base" >/dev/null 2>&1 || true; fi
  rm -rf "$work"
}
trap clean_up EXIT

[ "$(id -u)" = 0 ] || fail "needs root, for mounts and for a network of its own"
for tool in buildah mmdebstrap unshare ip jq; do
  command -v "$tool" >/dev/null || fail "$tool is missing: apt-get install buildah mmdebstrap util-linux iproute2 jq"
done

if ! buildah inspect --type image "$base" >/dev/null 2>&1; then
  say "a fresh Debian with Python"
  mmdebstrap --quiet --variant=minbase --include=python3,ca-certificates bookworm "$work/base.tar"
  scratch=$(buildah from scratch)
  buildah add --quiet "$scratch" "$work/base.tar" / >/dev/null
  buildah commit --quiet --rm "$scratch" "$base" >/dev/null
  rm "$work/base.tar"
fi

# pip and apt inside the build go the way that they go on this machine; nothing of it stays in the image.
passed=()
for file in /etc/pip.conf /etc/ssl/certs/ca-certificates.crt; do
  if [ -f "$file" ]; then passed+=(--volume "$file:$file:ro"); fi
done
for variable in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
  if [ -n "${!variable:-}" ]; then passed+=(--build-arg "$variable=${!variable}"); fi
done

say "build"
buildah bud --quiet --isolation chroot --format docker --pull-never "${passed[@]}" \
  --build-arg BASE_IMAGE="$base" --build-arg EXTRA=cpu --tag "$image" . >/dev/null
container=$(buildah from --pull-never "$image")
root=$(buildah mount "$container")

say "what is in it"
packages=$(chroot "$root" /opt/venv/bin/pip list --disable-pip-version-check --format=freeze 2>/dev/null)
echo "$packages" | grep -iE '^(recontour|onnxruntime|openvino|numpy|pydicom)==' || fail "pip lists nothing that it should"
if echo "$packages" | grep -iE '^(torch|onnx|tensorboard|pytest)=='; then fail "the image holds what only training and tests need"; fi
for tool in gcc cc g++ make git; do
  if chroot "$root" /bin/sh -c "command -v $tool" >/dev/null; then fail "the image holds $tool"; fi
done
if find "$root" -xdev -name '*.dcm' -not -path '*/site-packages/*' | grep -q .; then fail "the image holds DICOM files"; fi
buildah inspect --type image "$image" | jq '.Docker.config' > "$work/config.json"
[ "$(jq -r .User "$work/config.json")" = 10001:10001 ] || fail "the user is not 10001"
[ "$(jq '.Healthcheck.Test | length' "$work/config.json")" -gt 0 ] || fail "there is no health check"
echo "user 10001, health check, no torch, no compiler; $(du -smx "$root" | cut -f1) MB"

say "start, check, send a case"
export IMAGE_TEST_ROOT="$root" IMAGE_TEST_WORK="$work" IMAGE_TEST_BIN="$bin"
unshare --net --mount --pid --fork --mount-proc bash deploy/image_test_inside.sh

say "image-test passed"
