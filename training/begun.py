"""The folder of a dataset, new or begun earlier: the key of its pseudonyms, and the settings it was begun with."""

import json
from collections.abc import Mapping
from pathlib import Path

from training.durable import write_durably
from training.keys import key_beside, make_key, public_key, read_key
from training.unusable import Unusable

SETTINGS = "settings.json"
HASHED = {"names": "other aliases or planning CTs", "key": "another key of the pseudonyms"}
"""Settings that are noted as a hash, in words."""


def key_of(out: Path, named: Path | None, *, seed: int, virtual: bool) -> bytes:
    """The named key, the public one of a virtual cohort, or that beside the dataset, made for a new dataset.

    Raises:
        Unusable: If the key is gone, damaged or inside the dataset, or `out` is no dataset.
    """
    if named is not None:
        if named.resolve().is_relative_to(out.resolve()):
            raise Unusable("the key of the pseudonyms lies inside the dataset", "keep it elsewhere, in the hospital")
        return read_key(named)
    if virtual:
        return public_key(seed)
    beside = key_beside(out)
    if beside.exists():
        return read_key(beside)
    if (out / SETTINGS).exists():
        advice = f"put {beside.name} back beside it, name it with --key, or choose a new folder"
        raise Unusable("the key of the pseudonyms of this dataset is gone", advice)
    if out.exists() and any(out.iterdir()):
        raise _strange()
    return make_key(beside)


def same_settings(out: Path, wanted: Mapping[str, object]) -> None:
    """Note the settings in a new folder; refuse a folder of other ones.

    Raises:
        Unusable: If `out` was begun with other settings, or is no dataset.
    """
    file = out / SETTINGS
    if not file.exists():
        if out.exists() and any(out.iterdir()):
            raise _strange()
        out.mkdir(parents=True, exist_ok=True)
        write_durably(file, json.dumps(wanted, indent=1) + "\n")
        return
    try:
        known = dict(json.loads(file.read_text()))
    except (ValueError, TypeError):
        raise Unusable(f"{SETTINGS} of the dataset is damaged", "choose a new folder") from None
    different = sorted(key for key in {*wanted, *known} if known.get(key) != wanted.get(key))
    if different:
        words = [HASHED.get(key) or f"{key} {known.get(key)} instead of {wanted.get(key)}" for key in different]
        advice = "give the same settings, or another folder"
        raise Unusable(f"the dataset was begun with {', '.join(words)}", advice)


def _strange() -> Unusable:
    return Unusable("the folder for the dataset holds something else", "give an empty or a new folder")
