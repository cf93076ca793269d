"""Who is in which split, from Patient ID and seed alone, and under which pseudonym, from Patient ID and key.

A pseudonym is no anonymity: whoever has the key and a list of Patient IDs can tell who is who. The seed is no secret;
with the list it tells in which split a patient is, and no more.
"""

from collections.abc import Iterable
from hashlib import blake2b

from training.dataset import Split
from training.keys import public_key
from training.unusable import Unusable


def pseudonyms(patient_ids: Iterable[str], key: bytes) -> dict[str, str]:
    """8 hexadecimal digits for every Patient ID.

    Args:
        patient_ids: Of all patients.
        key: Of `training.keys`, 1 to 64 bytes.

    Raises:
        Unusable: If two patients get the same one.
    """
    found = {patient_id: _keyed(patient_id, key, 4, b"pseudonym").hex() for patient_id in patient_ids}
    if len(set(found.values())) < len(found):
        raise Unusable(
            "two patients get the same pseudonym with this key", "take another key; virtual patients another seed"
        )
    return found


def split_patients(patient_ids: Iterable[str], *, validation: float, test: float, seed: int) -> dict[str, Split]:
    """The split of every patient.

    Patients are ordered by a keyed hash of their ID, so the order of two of them never depends on a third: a patient
    who joins moves at most those beside the two borders.

    Args:
        patient_ids: Of all patients.
        validation: Part of the patients, rounded to whole ones.
        test: Likewise.
        seed: Key of the order.

    Raises:
        ValueError: If the parts are not from 0 to 1 together.
    """
    if not (0 <= validation <= 1 and 0 <= test <= 1 and validation + test <= 1):
        raise ValueError("the parts for validation and test must be from 0 to 1, and at most 1 together")
    key = public_key(seed)
    ordered = sorted(set(patient_ids), key=lambda patient_id: (_keyed(patient_id, key, 32, b"split"), patient_id))
    tested = round(test * len(ordered))
    last = min(tested + round(validation * len(ordered)), len(ordered))
    return {
        patient_id: "test" if rank < tested else "validation" if rank < last else "training"
        for rank, patient_id in enumerate(ordered)
    }


def _keyed(patient_id: str, key: bytes, size: int, use: bytes) -> bytes:
    return blake2b(patient_id.encode(), key=key, person=use, digest_size=size).digest()
