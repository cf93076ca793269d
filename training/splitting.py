"""Who is in which split and under which pseudonym: both from Patient ID and seed alone.

A pseudonym is no anonymity: whoever has the seed and a list of Patient IDs can tell who is who.
"""

from collections.abc import Iterable
from hashlib import blake2b

from training.dataset import Split
from training.unusable import Unusable


def pseudonyms(patient_ids: Iterable[str], seed: int) -> dict[str, str]:
    """8 hexadecimal digits for every Patient ID.

    Raises:
        Unusable: If two patients get the same one.
    """
    found = {patient_id: _keyed(patient_id, seed, 4).hex() for patient_id in patient_ids}
    if len(set(found.values())) < len(found):
        raise Unusable("two patients get the same pseudonym with this seed", "choose another seed")
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
    if min(validation, test) < 0 or validation + test > 1:
        raise ValueError("the parts for validation and test must be from 0 to 1, and at most 1 together")
    ordered = sorted(set(patient_ids), key=lambda patient_id: (_keyed(patient_id, seed, 32, b"split"), patient_id))
    tested = round(test * len(ordered))
    last = min(tested + round(validation * len(ordered)), len(ordered))
    return {
        patient_id: "test" if rank < tested else "validation" if rank < last else "training"
        for rank, patient_id in enumerate(ordered)
    }


def _keyed(patient_id: str, seed: int, size: int, use: bytes = b"pseudonym") -> bytes:
    return blake2b(patient_id.encode(), key=str(seed).encode(), person=use, digest_size=size).digest()
