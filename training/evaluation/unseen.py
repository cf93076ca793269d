"""Nobody is tested on whom a network learned from, as far as runs and datasets can tell."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from training.dataset import Dataset, Split, hash_of
from training.evaluation.system import System


class SeenPatient(ValueError):
    """A network learned from a patient on whom it would be tested, or nobody can tell."""


@dataclass(frozen=True)
class Cohort:
    """What one stage of a training learned from.

    Attributes:
        patients: Pseudonyms; empty where the run did not write them down.
        sha256: Over names and contents of the pairs, as `training.dataset.cohort_hash`.
    """

    patients: tuple[str, ...]
    sha256: str


@runtime_checkable
class Learned(Protocol):
    """A system with a network in it."""

    @property
    def learned_from(self) -> tuple[Cohort, ...] | None:
        """Stage by stage; None where nobody knows, as of an exported model."""


def check_unseen(systems: Sequence[System], dataset: Dataset, splits: Sequence[Split]) -> tuple[str, ...]:
    """What can be said of systems that learned; systems that learn nothing pass.

    Args:
        systems: What would be evaluated.
        dataset: On whose cases.
        splits: Of this dataset.

    Returns:
        A sentence for every system of which it is not certain that it never saw these patients.

    Raises:
        SeenPatient: If a system learned from a patient of these splits, or does not say from whom and its cohort is
            not the training split of this dataset.
    """
    # The Hybrid method has a network inside, which gives it the bladder.
    parts = [(system.name, part) for system in systems for part in (system, getattr(system, "bladder", None))]
    remarks = [remark_on(name, part.learned_from, dataset, splits) for name, part in parts if isinstance(part, Learned)]
    return tuple(remark for remark in remarks if remark)


def remark_on(name: str, learned_from: tuple[Cohort, ...] | None, dataset: Dataset, splits: Sequence[Split]) -> str:
    """As `check_unseen`, for one network; empty where there is nothing to say."""
    if learned_from is None:
        return (
            f"{name} is an exported model, and does not say whom it learned from: that no patient here was among them "
            "is for its maker to know."
        )
    facts = dataset.facts
    training = hash_of({pair: facts.pairs[pair] for pair in dataset.names("training")})
    others = [cohort for cohort in learned_from if cohort.sha256 != training]
    for split in splits:
        seen = {patient for cohort in others for patient in cohort.patients} & set(facts.split[split])
        if seen:
            raise SeenPatient(
                f"{name} learned from {len(seen)} of the {len(facts.split[split])} {split} patients, so its "
                "numbers would be too good: train it on the training split of this dataset, or evaluate it on patients "
                "whom it never saw"
            )
    if any(not cohort.patients for cohort in others):
        raise SeenPatient(
            f"{name} does not say from whom it learned, and that was not the training split here: name the dataset of "
            "its training with --dataset too, or train it again"
        )
    if others:
        return (
            f"{name} learned from another dataset. No pseudonym is common, which is certain only if one key made both "
            "datasets: that no patient here was among its own is for its maker to know."
        )
    return ""
