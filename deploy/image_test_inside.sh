#!/usr/bin/env bash
# The second half of image_test.sh, in namespaces of its own (network, mounts, processes): run by it, not by hand.
set -euo pipefail
root=$RECONTOUR_IMAGE_ROOT work=$RECONTOUR_IMAGE_WORK bin=$RECONTOUR_CLIENT_BIN
port=8000
key=only-for-this-test-0123456789abcdef
url=http://127.0.0.1:$port

fail() { echo "image-test: $*" >&2; tail -n 40 "$work/service.log" >&2 2>/dev/null || true; exit 1; }

ip link set lo up
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
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
as_user() {
  chroot "$root" setpriv --reuid=10001 --regid=10001 --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all \
    env -i "${environment[@]}" "$@"
}

if as_user touch /opt/recontour/x 2>/dev/null || touch "$root/opt/x" 2>/dev/null; then fail "the root is not read-only"; fi
if as_user "${probe[@]}" >/dev/null 2>&1; then fail "the health check passes with no service behind it"; fi
if as_user timeout 60 "${command[@]}" >"$work/service.log" 2>&1; then fail "it started on all addresses without a key"; fi
grep -qi 'key\|insecure' "$work/service.log" || fail "it refused to start without a key, but does not say so"

as_user RECONTOUR_API_KEY_SHA256="$(printf %s "$key" | sha256sum | cut -d" " -f1)" "${command[@]}" >"$work/service.log" 2>&1 &
service=$!
started=$SECONDS
until as_user "${probe[@]}" >/dev/null 2>&1; do
  kill -0 "$service" 2>/dev/null || fail "the service ended before it was ready"
  [ $((SECONDS - started)) -lt 180 ] || fail "not ready after 180 s"
  sleep 1
done
echo "ready after $((SECONDS - started)) s"
