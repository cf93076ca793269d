"""The ways a case comes in: multipart/form-data, multipart/related of DICOM, or one zip. All of it stays in memory.

Parts are cut by python-multipart's parser as the bytes arrive; Starlette's form reader would spool them to disk.
"""

from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Literal

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

from imaging.dicom.parse import DicomObject, parse
from imaging.errors import MissingObject, TooLarge
from service.archives import is_zip, unpack
from service.problems import Refusal
from service.settings import UploadLimits
from service.uploads_memory import Content, PartMemory

FORM = "multipart/form-data"
RELATED = "multipart/related"
ZIP = "application/zip"
REQUEST_MEDIA_TYPES = (FORM, f'{RELATED}; type="application/dicom"', ZIP)
OPTIONS_ENTRY = "options.json"

Role = Literal["planning_ct", "planning_structures", "daily_ct", "unsorted"]
OBJECT_FIELDS: tuple[Role, ...] = ("planning_ct", "planning_structures", "daily_ct")
TEXT_FIELDS = ("options", "plan_id")


@dataclass(eq=False, repr=False)
class Part:
    """One part of a multipart body while it is being received."""

    headers: dict[str, str] = field(default_factory=dict)
    role: Role | None = None
    text_field: str = ""
    limit: int = 0
    size: int = 0
    looked_at: bool = False


@dataclass(eq=False, repr=False)
class Upload:
    """What was sent, per role, zip files not yet opened. `unsorted` objects find their role by reference.

    Not frozen: the pipeline empties it as it reads, so that bytes and decoded voxels never live side by side.
    Without a repr: asyncio and tracebacks would print a patient's scan.
    """

    objects: dict[Role, list[Content]] = field(default_factory=dict)
    options: bytes | None = None
    plan_id: str = ""
    received_bytes: int = 0
    parsed: dict[Role, list[Future[DicomObject]]] = field(default_factory=dict)
    """The objects of a role, begun as each arrived; of no use where some came in a zip."""

    def of(self, role: Role) -> list[Content]:
        """The objects of a role."""
        return self.objects.get(role, [])

    @property
    def count(self) -> int:
        """How many objects (or zip files) came."""
        return sum(len(contents) for contents in self.objects.values())


async def receive_upload(
    chunks: AsyncIterator[bytes], content_type: str, *, limits: UploadLimits, hold: Callable[[int], None]
) -> Upload:
    """Read a body.

    Args:
        chunks: The body as it arrives.
        content_type: The request's Content-Type.
        limits: Sizes, counted as the bytes arrive.
        hold: Called with the size of each chunk before it is kept.

    Raises:
        Refusal: 'unsupported-media-type', 'multipart-invalid' or what `hold` refuses.
        TooLarge: If a limit is exceeded.
    """
    media_type, parameters = parse_options_header(content_type)
    kind = media_type.decode("latin-1").lower()
    if kind == ZIP:
        return await _receive_zip(chunks, limits, hold)
    if kind not in (FORM, RELATED):
        raise Refusal("unsupported-media-type", f"send one of: {', '.join(REQUEST_MEDIA_TYPES)}.")
    if kind == RELATED and parameters.get(b"type", b"application/dicom").lower() != b"application/dicom":
        raise Refusal("unsupported-media-type", 'multipart/related is read with type="application/dicom" only.')
    if not parameters.get(b"boundary"):
        raise Refusal("multipart-invalid", "the Content-Type has no boundary.")
    return await _receive_parts(chunks, parameters[b"boundary"], _Collector(limits, form=kind == FORM), hold)


def unpack_upload(upload: Upload, *, limits: UploadLimits) -> Upload:
    """Replace every zip by its files. CPU-heavy: runs on the worker.

    Raises:
        Refusal: 'archive-invalid'.
        TooLarge: If the real bytes exceed a limit.
    """
    opened = Upload(options=upload.options, plan_id=upload.plan_id, received_bytes=upload.received_bytes)
    unpacked_bytes = 0
    for role in tuple(upload.objects):
        target = opened.objects.setdefault(role, [])
        if role in upload.parsed and not any(map(is_zip, upload.objects[role])):
            opened.parsed[role] = upload.parsed.pop(role)
        for content in upload.objects.pop(role):
            if not is_zip(content):
                target.append(content)
                continue
            for entry in unpack(bytes(content), limits=limits):
                unpacked_bytes += len(entry.content)
                if unpacked_bytes > limits.unpacked_bytes:
                    raise TooLarge(f"the zip files unpack to more than {limits.unpacked_bytes} bytes")
                if role == "unsorted" and entry.name.rsplit("/", 1)[-1] == OPTIONS_ENTRY:
                    if opened.options is not None:
                        raise Refusal("archive-invalid", f"{OPTIONS_ENTRY} came twice; send one.")
                    opened.options = entry.content
                else:
                    target.append(entry.content)
    if opened.count > limits.parts:
        raise TooLarge(f"{opened.count} objects were sent; the limit is {limits.parts}")
    return opened


def require_roles(upload: Upload, *, plan_staged: bool) -> None:
    """Refuse an upload in which a role has no object, before anything is read.

    Raises:
        MissingObject: A role is empty.
        Refusal: 'multipart-invalid' if a staged plan and planning objects came together.
    """
    if plan_staged:
        if upload.of("planning_ct") or upload.of("planning_structures"):
            raise Refusal("multipart-invalid", "send plan_id or the planning objects, not both.")
        needed: tuple[Role, ...] = ("daily_ct",)
    elif upload.of("unsorted"):
        return
    else:
        needed = OBJECT_FIELDS
    missing = [role for role in needed if not upload.of(role)]
    if missing:
        raise MissingObject(f"nothing was sent as {', '.join(missing)}; send its files too", missing=missing)


def require_plan_roles(upload: Upload) -> None:
    """Refuse an upload that is not exactly planning objects.

    Raises:
        MissingObject: A planning role is empty.
        Refusal: 'multipart-invalid' if a daily CT, options or a plan id came too.
    """
    if upload.of("daily_ct") or upload.plan_id:
        raise Refusal("multipart-invalid", "a plan consists of planning_ct and planning_structures only.")
    if upload.of("unsorted"):
        return
    missing = [role for role in OBJECT_FIELDS[:2] if not upload.of(role)]
    if missing:
        raise MissingObject(f"nothing was sent as {', '.join(missing)}; send its files too", missing=missing)


async def _receive_zip(chunks: AsyncIterator[bytes], limits: UploadLimits, hold: Callable[[int], None]) -> Upload:
    kept: list[bytes] = []
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > limits.body_bytes:
            raise TooLarge(f"the body exceeds {limits.body_bytes} bytes")
        hold(len(chunk))
        kept.append(chunk)
    content = b"".join(kept)
    if not is_zip(content):
        raise Refusal("archive-invalid", "the body is not a zip file.")
    return Upload({"unsorted": [content]}, received_bytes=size)


async def _receive_parts(
    chunks: AsyncIterator[bytes], boundary: bytes, collector: "_Collector", hold: Callable[[int], None]
) -> Upload:
    try:
        parser = MultipartParser(boundary, collector.callbacks(), max_header_count=16, max_header_size=4096)
        async for chunk in chunks:
            collector.upload.received_bytes += len(chunk)
            if collector.upload.received_bytes > collector.limits.body_bytes:
                raise TooLarge(f"the body exceeds {collector.limits.body_bytes} bytes")
            hold(len(chunk))
            parser.write(chunk)
        parser.finalize()
    except (FormParserError, UnicodeDecodeError):
        raise Refusal("multipart-invalid", "the multipart body cannot be read; check its boundary.") from None
    finally:
        collector.reader.shutdown(wait=False, cancel_futures=not collector.ended)
    if not collector.ended:
        raise Refusal("multipart-invalid", "the body ends before its last boundary; the upload was cut off.")
    return collector.upload


class _Collector:
    """Turns the parser's events into an `Upload`."""

    def __init__(self, limits: UploadLimits, *, form: bool) -> None:
        self.upload = Upload()
        self.limits = limits
        self.ended = False
        self._form = form
        self._parts = 0
        self._part = Part()
        self._texts: set[str] = set()
        self._memory = PartMemory()
        # A body takes longer to arrive than its objects to parse.
        self.reader = ThreadPoolExecutor(1)
        self._parse = partial(parse, limits=limits.for_reading())
        self._header = [b"", b""]

    def callbacks(self) -> "MultipartCallbacks":
        """For `MultipartParser`."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._assign_role,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > self.limits.parts + len(TEXT_FIELDS):
            raise TooLarge(f"more than {self.limits.parts} parts")
        self._part = Part()
        self._memory.begin()

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header[0] += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1] += data[start:end]

    def _header_end(self) -> None:
        name, value = self._header
        self._part.headers[name.decode("latin-1").lower()] = value.decode("latin-1")
        self._header = [b"", b""]

    def _assign_role(self) -> None:
        part = self._part
        if part.headers.get("content-encoding", "identity").lower() != "identity":
            raise Refusal("content-encoding-unsupported", "a part is compressed; send it as it is, or as a zip.")
        if part.headers.get("content-transfer-encoding", "binary").lower() not in ("binary", "8bit", "7bit"):
            raise Refusal("multipart-invalid", "a part has a Content-Transfer-Encoding; send it binary.")
        if self._form:
            self._assign_form_field(part)
        elif part.headers.get("content-type", "").lower().startswith("application/json"):
            part.text_field, part.limit = "options", self.limits.options_bytes
        else:
            part.role, part.limit = "unsorted", max(self.limits.instance_bytes, self.limits.structure_bytes)
        if part.text_field in self._texts:
            raise Refusal("multipart-invalid", f"{part.text_field} came twice; send it once.")
        if part.text_field:
            self._texts.add(part.text_field)

    def _assign_form_field(self, part: Part) -> None:
        _, parameters = parse_options_header(part.headers.get("content-disposition", ""))
        name = parameters.get(b"name", b"").decode("latin-1")
        if name in TEXT_FIELDS:
            part.text_field, part.limit = name, self.limits.options_bytes
            return
        for role in OBJECT_FIELDS:
            if name == role:
                # A zip in this field may be as large as the body; what it unpacks to is counted later.
                part.role, part.limit = role, self.limits.body_bytes
                return
        raise Refusal(
            "multipart-invalid", f"an unknown form field; the fields are {', '.join(OBJECT_FIELDS + TEXT_FIELDS)}."
        )

    def _data(self, data: bytes, start: int, end: int) -> None:
        part = self._part
        part.size += end - start
        self._memory.append(memoryview(data)[start:end])
        if part.role is not None and not part.looked_at and part.size >= 4:
            part.looked_at = True
            if bytes(self._memory.part()[:2]) != b"PK":
                part.limit = self._object_limit(part.role)
        if part.size > part.limit:
            raise TooLarge(f"a part exceeds {part.limit} bytes")

    def _object_limit(self, role: Role) -> int:
        if role == "planning_structures":
            return self.limits.structure_bytes
        if role == "unsorted":
            return max(self.limits.instance_bytes, self.limits.structure_bytes)
        return self.limits.instance_bytes

    def _end(self) -> None:
        part, content = self._part, self._memory.part()
        if part.role is not None:
            self.upload.objects.setdefault(part.role, []).append(content)
            if not is_zip(content):
                self.upload.parsed.setdefault(part.role, []).append(self.reader.submit(self._parse, content))
        elif part.text_field == "options":
            self.upload.options = bytes(content)
        elif part.text_field == "plan_id":
            self.upload.plan_id = bytes(content).decode("latin-1").strip()

    def _finish(self) -> None:
        self.ended = True
