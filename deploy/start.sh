#!/bin/sh
# The entry point of the image: `start.sh serve ...` is `recontour serve ...` with the kernels of the image.
# numba reads its cache only where it may write too, and the root of a container may be read-only: so they are copied.
if [ -n "${NUMBA_CACHE_DIR:-}" ] && [ ! -e "$NUMBA_CACHE_DIR" ]; then
  cp -R /opt/recontour/kernels "$NUMBA_CACHE_DIR" || echo "start.sh: cannot copy the compiled kernels" >&2
fi
exec recontour "$@"
