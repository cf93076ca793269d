"""Everything that a hospital may set: one frozen object, from the environment (RECONTOUR_*) or from keywords."""

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from imaging.dicom.limits import ReadLimits

MIB = 2**20
PREFIX = "RECONTOUR_"
NOT_OURS = frozenset({"RECONTOUR_SHARED", "RECONTOUR_URL", "RECONTOUR_API_KEY", "RECONTOUR_DCMRTSTRUCT2NII_PYTHON"})
"""Variables of the same prefix that belong to the tests and to the client."""


class UploadLimits(BaseModel):
    """What one request may bring; published at GET /limits. Those of `ReadLimits` bear its names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    body_bytes: Annotated[int, Field(ge=1, description="Whole body")] = 1536 * MIB
    parts: Annotated[int, Field(ge=1, description="Objects in one request, zip entries included")] = 2500
    instance_bytes: Annotated[int, Field(ge=1, description="One CT image")] = 64 * MIB
    structure_bytes: Annotated[int, Field(ge=1, description="The planning RTSTRUCT")] = 256 * MIB
    options_bytes: Annotated[int, Field(ge=1, description="The options and other text fields")] = 64 * 1024
    unpacked_bytes: Annotated[int, Field(ge=1, description="All entries of all zip files, unpacked")] = 1536 * MIB
    unpack_ratio: Annotated[int, Field(ge=1, description="Unpacked size over zip size; CT reaches about 4")] = 50
    header_bytes: Annotated[int, Field(ge=1, description="An image's header without its pixels")] = 8 * MIB
    elements: Annotated[int, Field(ge=1, description="Attributes at the top level of one object")] = 10_000
    nesting: Annotated[int, Field(ge=1, description="Depth of sequences")] = 16
    pixels: Annotated[int, Field(ge=1, description="Rows times columns of one image")] = 2048 * 2048
    min_slices: Annotated[int, Field(ge=2, description="Fewest slices of a CT")] = 20
    max_slices: Annotated[int, Field(ge=2, description="Most slices of a CT")] = 1000
    contours: Annotated[int, Field(ge=1, description="Contours of the planning RTSTRUCT")] = 200_000
    contour_points: Annotated[int, Field(ge=1, description="Points of the planning RTSTRUCT")] = 2_000_000
    rois: Annotated[int, Field(ge=1, description="ROIs of the planning RTSTRUCT")] = 1000

    def for_reading(self) -> ReadLimits:
        """Those that the DICOM readers hold."""
        return ReadLimits(**{bound.name: getattr(self, bound.name) for bound in fields(ReadLimits)})


NO_MODEL = "none"
"""`model` of a service that runs without any network."""


class Settings(BaseSettings):
    """The service's settings. Unknown keywords are refused; `from_environment` also refuses unknown variables."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,  # a key in clear must not be printed
    )

    host: Annotated[str, Field(description="Address to listen on")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="Port to listen on; 0 takes a free one")] = 8000
    insecure: Annotated[bool, Field(description="Allow an address other than loopback without any key")] = False
    api_key_sha256: Annotated[
        tuple[str, ...], NoDecode, Field(description="SHA-256 (hex) of each accepted key, separated by commas")
    ] = ()

    models_dir: Annotated[Path, Field(description="Folder that holds <name>/<version>/")] = Path("models")
    model: Annotated[
        str,
        Field(
            pattern=r"^[a-z0-9][a-z0-9-]*(/\d+\.\d+\.\d+)?$",
            description="'name' (its highest version), 'name/version', or 'none' for the registration alone",
        ),
    ] = "prostate-ct"
    device: Annotated[Literal["auto", "cuda", "cpu"], Field(description="'cuda' is not ready without a GPU")] = "auto"
    cpu_backend: Annotated[
        Literal["auto", "openvino", "onnxruntime"],
        Field(description="Runtime of the network on a CPU; 'auto' is openvino"),
    ] = "auto"
    threads: Annotated[int, Field(ge=0, description="CPU threads of the network, 0 for the runtime's choice")] = 0
    refinement_device: Annotated[
        Literal["auto", "cpu"],
        Field(description="'auto' takes the refinement's last steps on the GPU where the network runs there"),
    ] = "auto"
    plausibility_file: Annotated[Path | None, Field(description="JSON with the physicist's own limits")] = None

    queue_length: Annotated[int, Field(ge=0, description="Requests that may wait behind the one at work")] = 8
    memory_bytes: Annotated[int, Field(ge=1, description="Bodies of all requests in the house together")] = 4096 * MIB
    keep_memory: Annotated[
        bool, Field(description="Keep what a case freed for the next one, instead of giving it back to the system")
    ] = True
    deadline_s: Annotated[float, Field(gt=0, description="From the last byte received to the answer")] = 300.0
    hang_grace_s: Annotated[
        float, Field(ge=0, description="Work that runs for the deadline and this much longer is taken to hang")
    ] = 30.0
    body_stall_s: Annotated[float, Field(gt=0, description="Longest silence while a body or header is sent")] = 15.0
    body_rate_min: Annotated[int, Field(ge=0, description="Bytes per second below which an upload is ended")] = 16384
    drain_s: Annotated[float, Field(ge=0, description="Not ready but still serving after SIGTERM")] = 5.0
    shutdown_s: Annotated[int, Field(ge=1, description="For requests in flight, after that")] = 60
    limits: UploadLimits = UploadLimits()

    plans_max: Annotated[int, Field(ge=0, description="Plans staged in memory; 0 switches /plans off")] = 4
    plan_ttl_s: Annotated[float, Field(gt=0, description="A staged plan is forgotten after this")] = 72 * 3600.0
    jobs_max: Annotated[int, Field(ge=0, description="Jobs remembered; 0 switches respond-async off")] = 32
    job_ttl_s: Annotated[float, Field(gt=0, description="A finished job is forgotten after this")] = 3600.0

    latency_target_s: Annotated[float, Field(gt=0, description="Goal of a whole request, from the first byte")] = 1.0

    @field_validator("api_key_sha256", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip().lower() for part in value.split(",") if part.strip())
        return value

    @field_validator("api_key_sha256")
    @classmethod
    def _hashed(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(len(key) != 64 or set(key) - set("0123456789abcdef") for key in value):
            # The rejected text itself may be a key in clear, so it must not appear in the message.
            raise ValueError("each key is given as the 64 hex digits of its SHA-256")
        return value

    @model_validator(mode="after")
    def _not_open_to_the_network(self) -> "Settings":
        if not (_is_loopback(self.host) or self.api_key_sha256 or self.insecure):
            raise ValueError(
                "listening beyond loopback needs RECONTOUR_API_KEY_SHA256, "
                "or --insecure behind a proxy that authenticates"
            )
        if self.limits.min_slices > self.limits.max_slices:
            raise ValueError("min_slices exceeds max_slices")
        return self

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None, **given: object) -> "Settings":
        """Settings of the environment, with `given` before it.

        Raises:
            ValueError: If a RECONTOUR_ variable is misspelt or a value is not allowed.
        """
        known = {f"{PREFIX}{name}".upper() for name in cls.model_fields}
        unknown = sorted(
            name
            for name in (os.environ if environment is None else environment)
            if name.upper().startswith(PREFIX)
            and name.upper().split("__")[0] not in known
            and name.upper() not in NOT_OURS
        )
        if unknown:
            raise ValueError(f"not a setting: {', '.join(unknown)}; docs/deploy.md lists them")
        return cls(**given)  # type: ignore[arg-type]


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
