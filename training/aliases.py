"""Which of the network's organs an ROI name means: TG-263 names and spellings that hospitals use, never a guess.

AAPM TG-263 (2018) names the organs Bladder, Rectum, SeminalVes and Prostate. The other spellings are those that a
released model accepts from a plan (`recipes/prostate-ct.release.toml`), `CUSTOMARY` ones of Dutch, German and English
clinics, and those of a file of the user. Case, blanks, underscores, hyphens, dots and accents make no difference.
A GTV or CTV is a target and no organ, so `GTV_prostate` is not taken for the prostate; a clinic that draws the whole
prostate under that name says so in its own file.
"""

import difflib
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from imaging.structures import Roi
from training.unusable import Unusable

RELEASE = Path(__file__).parent / "recipes" / "prostate-ct.release.toml"

CUSTOMARY: Mapping[str, tuple[str, ...]] = {
    "Bladder": ("Urineblaas",),
    "Rectum": ("Endeldarm", "Mastdarm", "Enddarm"),
    "SeminalVes": ("SemVesicle", "Samenbläschen", "Zaadblaasje", "Zaadblaas"),
    "Prostate": ("Voorstanderklier", "Vorsteherdrüse"),
}
"""Spellings beside those of the released model."""

NEARLY_ALIKE = 0.75
"""Similarity (difflib's ratio) from which an unknown name is shown to the user as a possible misspelling."""

_PASSED_OVER = str.maketrans("", "", " _-.\t")


@dataclass(frozen=True)
class Aliases:
    """The organs in the order of their labels 1, 2, ..., and the label of every known spelling.

    Attributes:
        organs: TG-263 names.
        label_of: Label by normalised spelling.
    """

    organs: tuple[str, ...]
    label_of: Mapping[str, int]

    def label(self, roi_name: str) -> int | None:
        """The label that an ROI name means; None where it is no known spelling."""
        return self.label_of.get(normalised(roi_name))

    def nearest(self, roi_name: str) -> int | None:
        """The label whose spelling is nearly this unknown name; for advice only."""
        found = difflib.get_close_matches(normalised(roi_name), self.label_of, n=1, cutoff=NEARLY_ALIKE)
        return self.label_of[found[0]] if found else None


def normalised(name: str) -> str:
    """A name without case, accents, blanks, underscores, hyphens and dots."""
    decomposed = unicodedata.normalize("NFKD", name.casefold())
    return "".join(sign for sign in decomposed if not unicodedata.combining(sign)).translate(_PASSED_OVER)


def read_aliases(file: Path | None = None) -> Aliases:
    """The known spellings, with those of a TOML file of lines such as `Rectum = ["Endeldarm", "R"]`.

    Raises:
        Unusable: If the file is no such table, names another organ, or gives one spelling to two organs.
    """
    released = tomllib.loads(RELEASE.read_text(encoding="utf-8"))["organs"]
    organs = tuple(organ["name"] for organ in released)
    spellings = [(label, spelling) for label, organ in enumerate(released, 1) for spelling in organ["aliases"]]
    spellings += [(label, organ) for label, organ in enumerate(organs, 1)]
    added = _read_table(file, organs) if file else {}
    for table in (CUSTOMARY, added):
        spellings += [(organs.index(organ) + 1, spelling) for organ, names in table.items() for spelling in names]
    label_of: dict[str, int] = {}
    for label, spelling in spellings:
        known = label_of.setdefault(normalised(spelling), label)
        if known != label:
            raise Unusable(f"the spelling {spelling!r} means two organs", "give it to one of them in the alias file")
    return Aliases(organs, label_of)


def organ_numbers(rois: Iterable[Roi], aliases: Aliases) -> dict[int, int]:
    """The label of every ROI that is one of the organs, by ROI number; all organs are there, each once.

    Body outlines and ROIs without contours do not count.

    Raises:
        Unusable: If an organ is missing, or two ROIs with contours mean the same one.
    """
    rois = tuple(rois)
    drawn = [roi for roi in rois if roi.contours and not roi.is_external]
    labels = {roi.number: label for roi in drawn if (label := aliases.label(roi.name)) is not None}
    for label, organ in enumerate(aliases.organs, 1):
        numbers = sorted(number for number, found in labels.items() if found == label)
        if len(numbers) > 1:
            raise Unusable(
                f"ROIs {' and '.join(map(str, numbers))} all mean {organ}", "rename all but the one that is meant"
            )
    missing = [label for label in range(1, len(aliases.organs) + 1) if label not in labels.values()]
    if missing:
        names = ", ".join(aliases.organs[label - 1] for label in missing)
        raise Unusable(f"no ROI with contours is named {names}", _advice(rois, set(missing), aliases))
    return labels


def _advice(rois: tuple[Roi, ...], missing: set[int], aliases: Aliases) -> str:
    """Where the missing organs may hide; ROI numbers, not names, because a name may tell who the patient is."""
    hints = []
    for roi in rois:
        label = aliases.label(roi.name)
        if label in missing and not roi.contours:
            hints.append(f"ROI {roi.number} is {aliases.organs[label - 1]} but has no contours")
        near = aliases.nearest(roi.name) if label is None else None
        if near in missing:
            hints.append(f"ROI {roi.number} is spelt nearly like {aliases.organs[near - 1]}")
    return "; ".join([*hints, "draw the organ, or give its ROI name in the file of --aliases"])


def _read_table(file: Path, organs: tuple[str, ...]) -> dict[str, list[str]]:
    advice = f'write lines such as {organs[0]} = ["spelling", "another"] for {", ".join(organs)}'
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise Unusable("the alias file is not there or no TOML", advice) from None
    for organ, names in table.items():
        if organ not in organs or not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise Unusable(f"the alias file holds {organ!r}, which is no list of spellings of an organ", advice)
    return table
