"""A small client of the service, for scripts and for the command line.

    from pathlib import Path
    from recontour.client import Client

    with Client("http://127.0.0.1:8000") as client:
        answer = client.recontour(planning=Path("planning"), structures=Path("rtstruct.dcm"), daily=Path("daily"))
    answer.save(Path("out"))

Everything is streamed from disk; what is sent bears neutral file names.
"""

import io
import json
import secrets
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias

import httpx
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info

Objects: TypeAlias = Path | Sequence[Path] | Sequence[bytes]
"""A DICOM file, a folder of them, a list of files, or their bytes."""

Form = Literal["all", "related", "recommended", "report"]
ACCEPT: Mapping[Form, str] = {
    "all": "application/zip",
    "related": 'multipart/related; type="application/dicom"',
    "recommended": "application/dicom",
    "report": "application/json",
}
Role = Literal["planning_ct", "planning_structures", "daily_ct"]
RT_OBJECTS = "1.2.840.10008.5.1.4.1.1.481."
RT_STRUCTURE_SET = f"{RT_OBJECTS}3"
KINDS = ("RECOMMENDED", "PROPAGATED", "SEGMENTED")
POLL_S = 0.25


class ClientError(Exception):
    """The case could not be sent, or no answer came back."""


class Unreachable(ClientError):
    """There is no service at the address, or the connection broke."""


class Refused(ClientError):
    """The service answered with a problem (RFC 9457).

    Attributes:
        status: HTTP status.
        code: Stable code of the problem.
        detail: What was found, with numbers.
        advice: The next step.
        request_id: To find the request in the service's log.
    """

    def __init__(self, *, status: int, code: str, detail: str, advice: str, request_id: str) -> None:
        super().__init__(f"{status} {code}: {detail.rstrip('.')}.{' ' + advice if advice else ''}")
        self.status = status
        self.code = code
        self.detail = detail
        self.advice = advice
        self.request_id = request_id


@dataclass(frozen=True)
class Answer:
    """What the service sent back.

    Attributes:
        objects: RTSTRUCT files by kind: RECOMMENDED, PROPAGATED, SEGMENTED, as far as they were asked for.
        report: report.json, empty if only DICOM was asked for.
        stages_s: Seconds per stage, from Server-Timing.
        request_id: The service's name for this request.
    """

    objects: Mapping[str, bytes]
    report: Mapping[str, Any]
    stages_s: Mapping[str, float] = field(default_factory=dict)
    request_id: str = ""

    def save(self, folder: Path) -> tuple[Path, ...]:
        """Write <kind>.dcm and report.json into a folder, made if missing, in the place of an earlier answer there."""
        return save_files(folder, self.objects, dict(self.report))


class Client:
    """A connection to one service; use it in a `with` block.

    Args:
        url: For example 'http://127.0.0.1:8000'.
        key: API key, or '' where the service asks for none.
        timeout_s: Longest silence on the connection, above the service's own deadline.
        transport: Another httpx transport, for tests.
    """

    def __init__(
        self, url: str, *, key: str = "", timeout_s: float = 400.0, transport: httpx.BaseTransport | None = None
    ) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        # Patient data go to the address that was named, never through a proxy of the environment.
        self._http = httpx.Client(
            base_url=url, headers=headers, timeout=timeout_s, transport=transport, trust_env=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def recontour(
        self,
        *,
        planning: Objects,
        structures: Objects,
        daily: Objects,
        options: Mapping[str, object] | None = None,
        form: Form = "all",
        progress: Callable[[int, int], None] | None = None,
    ) -> Answer:
        """Send one case and wait for its contours.

        Args:
            planning: The planning CT.
            structures: The RTSTRUCT drawn on it.
            daily: The CT of the day.
            options: 'refine', 'rois', 'holes'; see GET /openapi.json.
            form: What to send back: 'all' RTSTRUCTs with the report, all RTSTRUCTs as 'related' parts, the
                'recommended' one alone, or the 'report' alone.
            progress: Called with the bytes just handed to the connection and the bytes in all.

        Raises:
            Refused: With the problem that the service names.
            Unreachable: If there is no service, or the connection broke.
            ClientError: If a folder holds no file.
        """
        body = _FormBody({"planning_ct": planning, "planning_structures": structures, "daily_ct": daily}, options)
        response = self._request(
            "POST",
            "/recontour",
            content=body.stream(progress),
            headers={
                "Content-Type": f"multipart/form-data; boundary={body.boundary}",
                "Content-Length": str(body.size),
                "Accept": ACCEPT[form],
            },
        )
        objects, report = _read_answer(response)
        return Answer(
            objects,
            report,
            server_timing(response.headers.get("Server-Timing", "")),
            response.headers.get("X-Request-ID", ""),
        )

    def get(self, path: str) -> Any:
        """The JSON of a GET route, for example '/limits' or '/models'."""
        return self._request("GET", path).json()

    def readiness(self) -> Mapping[str, Any]:
        """GET /health/ready, whether it says yes or no."""
        try:
            return self._http.get("/health/ready").json()
        except (httpx.HTTPError, ValueError) as error:
            raise _no_answer(error) from None

    def wait_until_ready(self, *, patience_s: float, alive: Callable[[], bool] = lambda: True) -> None:
        """Wait for a service that is starting.

        Args:
            patience_s: How long.
            alive: Asked between two tries; waiting ends once it says no.

        Raises:
            Unreachable: If the service is not ready in time, or says that it failed to start.
        """
        deadline = time.monotonic() + patience_s
        reason = "no answer"
        while time.monotonic() < deadline and alive():
            try:
                state = self.readiness()
            except Unreachable as error:
                reason = str(error)
            else:
                if state.get("ready"):
                    return
                failed = [
                    f"{name}: {c.get('detail')}" for name, c in state.get("checks", {}).items() if c["passed"] is False
                ]
                reason = "; ".join(failed) or str(state.get("phase"))
                if state.get("phase") == "failed":
                    break
            time.sleep(POLL_S)
        raise Unreachable(f"the service did not become ready: {reason}")

    def _request(self, method: str, path: str, **request: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, **request)
        except httpx.HTTPError as error:
            raise _no_answer(error) from None
        if response.is_error:
            raise _refused(response)
        return response


def dicom_files(objects: Objects, *, role: Role) -> tuple[Path | bytes, ...]:
    """The files that a folder, a file or a list stands for, in a stable order.

    Planning systems export images, structures, plan and dose into one folder: of a folder, the structures role takes
    RTSTRUCTs alone and the CT roles take all but RT objects. What is no DICOM stays in, for the service to refuse.

    Raises:
        ClientError: If there is none.
    """
    if not isinstance(objects, Path):
        found: tuple[Path | bytes, ...] = tuple(objects)
    elif objects.is_dir():
        # DICOMDIR is an index of the medium, not an object of the case.
        files = (f for f in objects.rglob("*") if f.is_file() and not f.name.startswith(".") and f.name != "DICOMDIR")
        found = tuple(sorted(file for file in files if _fits(file, role)))
    else:
        found = (objects,) if objects.is_file() else ()
    if not found:
        raise ClientError(f"{role}: the folder or file is missing, or holds nothing of that kind; check the path")
    return found


def _fits(file: Path, role: Role) -> bool:
    try:
        sop_class = str(read_file_meta_info(file).get("MediaStorageSOPClassUID", ""))
    except (InvalidDicomError, ValueError, KeyError, EOFError):
        return True
    if role == "planning_structures":
        return sop_class == RT_STRUCTURE_SET
    return not sop_class.startswith(RT_OBJECTS)


def save_files(folder: Path, objects: Mapping[str, bytes], report: Mapping[str, Any]) -> tuple[Path, ...]:
    """Write <kind>.dcm and, unless it is empty, report.json, in the place of an earlier answer.

    What the earlier answer had and this one has not is removed: contours of two days must not lie side by side under
    names that belong together. Files get their names when all of them are complete, so a full disk leaves no part of
    one, and the earlier answer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    contents = {f"{kind}.dcm": content for kind, content in objects.items()}
    if report:
        contents["report.json"] = (json.dumps(report, indent=1, ensure_ascii=False) + "\n").encode()
    parts = {name: folder / f".{name}.part" for name in contents}
    try:
        for name, content in contents.items():
            parts[name].write_bytes(content)
        for earlier in (*(f"{kind}.dcm" for kind in KINDS), "report.json"):
            (folder / earlier).unlink(missing_ok=True)
        return tuple(part.replace(folder / name) for name, part in parts.items())
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}, the answer was not saved", str(folder)) from error
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)


def server_timing(header: str) -> dict[str, float]:
    """Seconds per stage of a Server-Timing header, whose durations are milliseconds."""
    stages = {}
    for entry in header.split(","):
        name, *parameters = (part.strip() for part in entry.split(";"))
        for parameter in parameters:
            if parameter.startswith("dur="):
                stages[name] = float(parameter[4:]) / 1000.0
    return stages


class _FormBody:
    """multipart/form-data of known length that is read from disk while it is sent."""

    def __init__(self, roles: Mapping[Role, Objects], options: Mapping[str, object] | None) -> None:
        # Drawn anew each time, so that no object can contain it on purpose.
        self.boundary = f"recontour-{secrets.token_hex(16)}"
        self._parts: list[tuple[bytes, Path | bytes]] = []
        for role, objects in roles.items():
            for position, content in enumerate(dicom_files(objects, role=role)):
                self._parts.append((self._head(role, f"{role}-{position:04d}.dcm"), content))
        if options:
            self._parts.append((self._head("options"), json.dumps(options).encode()))
        self._end = f"--{self.boundary}--\r\n".encode()
        self.size = len(self._end) + sum(len(head) + _size(content) + 2 for head, content in self._parts)

    def stream(self, progress: Callable[[int, int], None] | None) -> Iterator[bytes]:
        for piece in self._pieces():
            yield piece
            if progress is not None:
                progress(len(piece), self.size)

    def _pieces(self) -> Iterator[bytes]:
        for head, content in self._parts:
            yield head + (content if isinstance(content, bytes) else content.read_bytes()) + b"\r\n"
        yield self._end

    def _head(self, name: str, filename: str = "") -> bytes:
        file = f'; filename="{filename}"\r\nContent-Type: application/dicom' if filename else ""
        return f'--{self.boundary}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode()


def _size(content: Path | bytes) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _read_answer(response: httpx.Response) -> tuple[dict[str, bytes], dict[str, Any]]:
    media_type = response.headers.get("Content-Type", "").split(";")[0].strip()
    if media_type == "application/dicom":
        return {"RECOMMENDED": response.content}, {}
    if media_type == "application/json":
        return {}, response.json()
    if media_type == "multipart/related":
        return _related_parts(response), {}
    if media_type == "application/zip":
        with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
        return _known({Path(name).stem: content for name, content in files.items()}), json.loads(
            files.get("report.json", b"{}")
        )
    raise ClientError(f"the service answered with {media_type or 'no media type'}; is the address right?")


def _related_parts(response: httpx.Response) -> dict[str, bytes]:
    """Parts of multipart/related by the file name that each one bears."""
    boundary = response.headers["Content-Type"].split("boundary=", 1)[1].split(";")[0].strip('" ').encode()
    objects = {}
    for part in response.content.split(b"--" + boundary)[1:-1]:
        head, content = part.removeprefix(b"\r\n").split(b"\r\n\r\n", 1)
        name = head.split(b'filename="', 1)[1].split(b'"', 1)[0].decode()
        objects[Path(name).stem] = content.removesuffix(b"\r\n")
    return _known(objects)


def _known(objects: Mapping[str, bytes]) -> dict[str, bytes]:
    """Those with a name of ours: what a stranger sends must not choose where we write."""
    return {kind: objects[kind] for kind in KINDS if kind in objects}


def _refused(response: httpx.Response) -> Refused:
    try:
        problem = response.json()
    except ValueError:
        problem = {}
    if not isinstance(problem, dict):
        problem = {}
    return Refused(
        status=response.status_code,
        code=str(problem.get("code", "http-error")),
        detail=str(problem.get("detail", response.reason_phrase)) + which_object(problem.get("facts")),
        advice=str(problem.get("advice", "")),
        request_id=response.headers.get("X-Request-ID", ""),
    )


def which_object(facts: object) -> str:
    """' (file 3 of daily_ct, by path)' where the facts of a refusal name one object, else ''."""
    if not isinstance(facts, Mapping) or not {"object", "field"} <= facts.keys():
        return ""
    return f" (file {facts['object']} of {facts['field']}, by path)"


def _no_answer(error: Exception) -> Unreachable:
    return Unreachable(f"no service answered at this address: {str(error) or type(error).__name__}")
