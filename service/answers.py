"""The forms of an answer, chosen by `Accept`. File names say what a file is, never whose."""

import hashlib
import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from python_multipart.multipart import parse_options_header

from service.core import Answer
from service.problems import Refusal

DICOM = "application/dicom"
RELATED = "multipart/related"
ZIP = "application/zip"
JSON = "application/json"
ANSWER_MEDIA_TYPES = (DICOM, f'{RELATED}; type="{DICOM}"', ZIP, JSON)
IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
ZIP_TIME = (1980, 1, 1, 0, 0, 0)
"""Constant, so that equal answers are equal bytes."""


@dataclass(frozen=True, repr=False)
class Payload:
    """A body with its headers."""

    body: bytes
    media_type: str
    headers: Mapping[str, str]


def choose_form(accept: str) -> str:
    """The media type to answer with: the best q, then the more specific range, then the order of `ANSWER_MEDIA_TYPES`.

    Raises:
        Refusal: 'not-acceptable'.
    """
    ranges = [_media_range(text) for text in accept.split(",") if text.strip()] or [_MediaRange("*/*", 1.0, True)]
    best: tuple[float, int, str] | None = None
    for preference, form in enumerate(FORMS):
        matching = [r for r in ranges if r.matches(form)]
        if not matching:
            continue
        quality = max(matching, key=lambda r: r.specificity).quality
        if quality > 0 and (best is None or (quality, -preference) > best[:2]):
            best = (quality, -preference, form)
    if best is None:
        raise Refusal("not-acceptable", f"the answers are {', '.join(ANSWER_MEDIA_TYPES)}.")
    return best[2]


def render(answer: Answer, form: str) -> Payload:
    """The answer in one of the forms of `choose_form`."""
    return FORMS[form](answer)


@dataclass(frozen=True)
class _MediaRange:
    name: str
    quality: float
    servable: bool

    @property
    def specificity(self) -> int:
        return 0 if self.name == "*/*" else 1 if self.name.endswith("/*") else 2

    def matches(self, form: str) -> bool:
        if not self.servable:
            return False
        return self.name in ("*/*", form) or (self.name.endswith("/*") and form.startswith(self.name[:-1]))


def _media_range(text: str) -> _MediaRange:
    name, raw = parse_options_header(text)
    parameters = {key.decode("latin-1"): value.decode("latin-1") for key, value in raw.items()}
    media_type = name.decode("latin-1").lower()
    try:
        # The comparison order turns NaN into 0.
        quality = min(1.0, max(0.0, float(parameters.get("q", "1"))))
    except ValueError:
        quality = 0.0
    # The answer is always Implicit VR Little Endian: longer contours do not fit Explicit VR's 16-bit length.
    servable = parameters.get("transfer-syntax", "*") in ("*", IMPLICIT_VR_LITTLE_ENDIAN)
    if media_type == RELATED:
        servable = servable and parameters.get("type", DICOM).lower() == DICOM
    return _MediaRange(media_type, quality, servable)


def _dicom(answer: Answer) -> Payload:
    return Payload(answer.objects["RECOMMENDED"], DICOM, {"Content-Disposition": _attachment("RECOMMENDED.dcm")})


def _related(answer: Answer) -> Payload:
    digest = hashlib.sha256()
    for content in answer.objects.values():
        digest.update(content)
    boundary = f"recontour-{digest.hexdigest()[:40]}"
    parts = [
        b"--%s\r\nContent-Type: %s\r\nContent-Disposition: %s\r\n\r\n%s\r\n"
        % (boundary.encode(), DICOM.encode(), _attachment(f"{kind}.dcm").encode(), content)
        for kind, content in answer.objects.items()
    ]
    body = b"".join([*parts, f"--{boundary}--\r\n".encode()])
    return Payload(body, f'{RELATED}; type="{DICOM}"; boundary={boundary}', {})


def _zip(answer: Answer) -> Payload:
    packed = io.BytesIO()
    files = {f"{kind}.dcm": content for kind, content in answer.objects.items()}
    files["report.json"] = _report_bytes(answer)
    # Deflating takes longer on the server than the bytes it saves take on the wire.
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, ZIP_TIME)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    return Payload(packed.getvalue(), ZIP, {"Content-Disposition": _attachment("recontouring.zip")})


def _json(answer: Answer) -> Payload:
    return Payload(_report_bytes(answer), JSON, {})


def _report_bytes(answer: Answer) -> bytes:
    return answer.report.model_dump_json(indent=1).encode()


def _attachment(name: str) -> str:
    return f'attachment; filename="{name}"'


FORMS: Mapping[str, Callable[[Answer], Payload]] = MappingProxyType(
    {DICOM: _dicom, RELATED: _related, ZIP: _zip, JSON: _json}
)
