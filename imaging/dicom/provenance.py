"""What made a result: software, model, inputs; and the identifiers that follow from it."""

import hashlib
import uuid
from dataclasses import dataclass

MANUFACTURER = "recontour"
"""Manufacturer (0008,0070) of everything that this software writes."""

IMPLEMENTATION_CLASS_UID = "2.25.9733851880646147927362894041152654341"
"""Names this DICOM implementation in the file meta information; PS3.7 D.3.3.2."""


@dataclass(frozen=True)
class Provenance:
    """All that decides the content of an answer.

    Attributes:
        software_version: Version of this software.
        model_name: Name of the model, or '' if none was used.
        model_version: Its version, or ''.
        model_device_uid: Its Device UID (0018,1002), which changes with every training, or ''.
        model_sha256: Hash of its weights, or ''.
        options_digest: SHA-256 of the request's options.
        inputs_digest: SHA-256 over everything that was sent.
    """

    software_version: str
    model_name: str = ""
    model_version: str = ""
    model_device_uid: str = ""
    model_sha256: str = ""
    options_digest: str = ""
    inputs_digest: str = ""

    @property
    def model_identity(self) -> str:
        """Name and version of the model in one word, or 'no model'."""
        return f"{self.model_name} {self.model_version}".strip() or "no model"

    @property
    def implementation_version(self) -> str:
        """Implementation Version Name (0002,0013), at most 16 characters."""
        return f"RECONTOUR_{self.software_version}"[:16]


def uid_from(*parts: str | bytes) -> str:
    """A DICOM UID that is the same for the same parts, and another one for any other.

    A UID of the form 2.25.<decimal UUID> (PS3.5 B.2); the UUID is version 8 (RFC 9562) of the parts' SHA-256.

    Args:
        parts: Texts or bytes. Their borders count: ('a', 'bc') and ('ab', 'c') differ.

    Returns:
        At most 44 characters.
    """
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    value = bytearray(digest.digest()[:16])
    value[6] = value[6] & 0x0F | 0x80
    value[8] = value[8] & 0x3F | 0x80
    return f"2.25.{uuid.UUID(bytes=bytes(value)).int}"
