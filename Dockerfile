# hadolint global ignore=DL3008
# The service as a container. Two stages: one installs, the other runs; neither holds torch, the second no build tool.
#
# GPU (the default):  docker build -t recontour .
# CPU:                docker build -t recontour:cpu --build-arg EXTRA=cpu --build-arg BASE_IMAGE=debian:bookworm-slim .
#
# Any Debian or Ubuntu with Python 3.11 or newer can be the base. CUDA 13, cuDNN 9 and cuBLAS come with the wheels of
# extra `gpu`, so the base is NVIDIA's smallest: it adds the settings by which the container toolkit finds the driver.
ARG BASE_IMAGE=nvidia/cuda:13.0.1-base-ubuntu24.04

FROM ${BASE_IMAGE} AS build
ARG EXTRA=gpu
# The base image fixes the versions of its packages; pinning them here again would break with every security update.
ENV DEBIAN_FRONTEND=noninteractive PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3 python3-venv \
 && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/venv
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY imaging imaging
COPY service service
COPY phantom phantom
COPY training training
COPY recontour recontour
COPY deploy/constraints-${EXTRA}.txt constraints.txt
RUN /opt/venv/bin/pip install --constraint constraints.txt ".[${EXTRA}]" \
 && /opt/venv/bin/python -m compileall -q /opt/venv/lib

FROM ${BASE_IMAGE}
ARG EXTRA=gpu
ENV DEBIAN_FRONTEND=noninteractive
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3 \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 recontour \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin recontour
COPY --from=build /opt/venv /opt/venv
# The dynamic loader learns where the wheels put CUDA; without that ONNX Runtime would quietly run on the CPU.
RUN find /opt/venv -type d -path '*/nvidia/*' -name lib > /etc/ld.so.conf.d/recontour.conf && ldconfig
COPY models /opt/recontour/models
COPY --chmod=755 deploy/start.sh /usr/local/bin/start.sh
WORKDIR /opt/recontour
# For the processor of this machine; on another kind the start compiles anew (docs/deploy.md).
RUN NUMBA_CACHE_DIR=/opt/recontour/kernels /opt/venv/bin/recontour warm && chmod -R a+rX /opt/recontour/kernels
# The root may be read-only: the compiled kernels, and nothing else, are written, and only below /tmp.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    NUMBA_CACHE_DIR=/tmp/numba \
    ORT_DISABLE_TELEMETRY=1 \
    RECONTOUR_MODELS_DIR=/opt/recontour/models
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=300s --retries=3 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/ready', timeout=4)"]
# All addresses are not loopback, so the service refuses to start without a key: RECONTOUR_API_KEY_SHA256 is the hash of
# what clients send. Behind a proxy that authenticates, add --insecure to the command.
ENTRYPOINT ["start.sh"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
