"""The key of pseudonyms: 32 random bytes in a file beside the dataset, for its owner alone.

A pseudonym is a keyed hash of the Patient ID. Whoever has the key and a list of Patient IDs can tell who is who, so the
key is no setting that anything writes down: the dataset holds a fingerprint of it only, to notice another key.
"""

import os
import secrets
from hashlib import blake2b
from pathlib import Path

from training.unusable import Unusable

KEY_BYTES = 32


def key_beside(out: Path) -> Path:
    """OUT.key, beside the dataset and never in it."""
    return out.with_name(f"{out.name}.key")


def read_key(file: Path) -> bytes:
    """The 32 bytes that a file states as 64 hexadecimal digits.

    Raises:
        Unusable: If there is no such file, or it holds anything else.
    """
    advice = "give the .key file that an earlier `prepare` made beside its dataset"
    try:
        key = bytes.fromhex(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        raise Unusable("the key of the pseudonyms is not there or damaged", advice) from None
    if len(key) != KEY_BYTES:
        raise Unusable(f"the key of the pseudonyms is not {KEY_BYTES} bytes long", advice)
    return key


def make_key(file: Path) -> bytes:
    """A new key in a new file that only its owner may read.

    Raises:
        FileExistsError: If there is such a file; a key is never overwritten.
    """
    key = secrets.token_bytes(KEY_BYTES)
    if file.exists():
        raise FileExistsError("a key is never overwritten")
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.part")
    part.unlink(missing_ok=True)
    # The mode counts from the first byte on, and the key is on the disk before the first pseudonym.
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as stream:
        stream.write(key.hex() + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(file)
    return key


def fingerprint(key: bytes) -> str:
    """Tells whether two keys are one, and nothing else of a random key."""
    return blake2b(b"fingerprint", key=key, digest_size=16).hexdigest()


def public_key(seed: int) -> bytes:
    """The key of virtual patients, who have nothing to hide: the same seed gives the same dataset everywhere."""
    return str(seed).encode()
