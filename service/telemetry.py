"""Metrics and logs. Only what is listed here leaves the process: no name, identifier, UID, path or message text."""

import json
import logging
import time
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from imaging.findings import Finding

LOGGER = "recontour"
FIELDS = frozenset(
    {
        "event", "request_id", "route", "method", "status", "code", "outcome", "stages_ms", "bytes_in", "bytes_out",
        "objects", "queue_depth", "fault", "at", "model", "provider", "check", "seconds", "host", "port", "device",
        "findings",
    }
)  # fmt: skip
"""Every field that a log record of the service may have."""
BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class Telemetry:
    """The service's metrics, in a registry of its own, and its log."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._durations = Histogram(
            "recontour_request_duration_seconds",
            "Time of each stage of a request, and of the whole as stage 'total'",
            ["stage", "outcome"],
            buckets=BUCKETS_S,
            registry=self.registry,
        )
        self._requests = Counter(
            "recontour_requests_total", "Requests answered", ["route", "method", "status"], registry=self.registry
        )
        self._problems = Counter("recontour_problems_total", "Problems answered", ["code"], registry=self.registry)
        self._findings = Counter(
            "recontour_findings_total", "Plausibility findings", ["check", "verdict"], registry=self.registry
        )
        self._model = Gauge(
            "recontour_model_info", "1 for the model in use", ["name", "version", "provider"], registry=self.registry
        )
        self.queue_depth = Gauge(
            "recontour_queue_depth", "Requests in the house, the one at work included", registry=self.registry
        )
        self.ready = Gauge("recontour_ready", "1 while requests are accepted", registry=self.registry)
        self._logger = logging.getLogger(LOGGER)

    def answered(self, *, route: str, method: str, status: int) -> None:
        """Count an answer under its route template, never under the path that was asked for."""
        self._requests.labels(route, method, str(status)).inc()

    def refused(self, code: str) -> None:
        """Count a problem."""
        self._problems.labels(code).inc()

    def timed(self, stages_s: Mapping[str, float], outcome: str) -> None:
        """Record the stages of a request with its outcome: 'answered', 'refused' or 'failed'."""
        for stage, seconds in stages_s.items():
            self._durations.labels(stage, outcome).observe(seconds)

    def found(self, findings: Iterable[Finding]) -> None:
        """Count findings by check and verdict."""
        for finding in findings:
            self._findings.labels(finding.check, finding.verdict.value).inc()

    def model_loaded(self, *, name: str, version: str, provider: str) -> None:
        """State which model serves, on what."""
        self._model.clear()
        self._model.labels(name, version, provider).set(1)

    def exposition(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def log(self, event: str, **fields: object) -> None:
        """Write one record; a field that is not in `FIELDS` is a bug and raises KeyError."""
        unknown = set(fields) - FIELDS
        if unknown:
            raise KeyError(f"not an allowed log field: {sorted(unknown)}")
        self._logger.info(event, extra={"fields": fields})

    def fault(self, error: BaseException, **fields: object) -> None:
        """Log an unforeseen exception by class and place; its text may quote a patient and stays out."""
        self.log("fault", fault=type(error).__name__, at=place_of(error), **fields)


def place_of(error: BaseException) -> str:
    """File name, line and function of the innermost frame."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return "unknown"
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno} {frames[-1].name}"


class JsonLines(logging.Formatter):
    """One JSON object per record. Records of other libraries lose their text: pydicom's quotes attribute values."""

    def format(self, record: logging.LogRecord) -> str:
        """Its time, level and allowed fields."""
        line: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
        }
        if record.name == LOGGER:
            fields = getattr(record, "fields", {})
            line["event"] = record.getMessage()
            line.update({name: value for name, value in fields.items() if name in FIELDS})
        else:
            line["event"] = "library"
            line["at"] = f"{record.name} {record.filename}:{record.lineno}"
            if record.exc_info and record.exc_info[1] is not None:
                line["fault"] = type(record.exc_info[1]).__name__
                line["at"] = place_of(record.exc_info[1])
            elif record.name.startswith("uvicorn"):
                line["message"] = record.getMessage()
        return json.dumps(line)


def configure_logging() -> None:
    """Send every record and every Python warning of this process through `JsonLines` to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(LOGGER).setLevel(logging.INFO)
    logging.captureWarnings(True)
