"""Why something that was found cannot be used, in words for the person who prepares a cohort."""

from dataclasses import dataclass, field

from imaging.errors import RecontouringError, RegistrationRejected


class Unusable(Exception):
    """A reason and what to do about it; neither holds a name, identifier, date or path of a patient."""

    def __init__(self, reason: str, advice: str) -> None:
        super().__init__(f"{reason}; {advice}")
        self.reason = reason
        self.advice = advice


@dataclass(frozen=True)
class Rejection:
    """One line of rejected.csv.

    Attributes:
        patient_id: Whose it is, '' if unknown; written as a pseudonym only.
        what: Kind of thing, and which day, in words.
        reason: Why it is not used.
        advice: What would make it usable.
        sources: Files that are meant; written into the hospital's key file only.
    """

    patient_id: str = field(repr=False)
    what: str
    reason: str
    advice: str
    sources: tuple[str, ...] = field(default=(), repr=False)


def because(error: RecontouringError | Unusable) -> tuple[str, str]:
    """Reason and advice of an error; the messages of `imaging` put the advice behind the last semicolon."""
    if isinstance(error, Unusable):
        return error.reason, error.advice
    if isinstance(error, RegistrationRejected):
        reason, _, advice = error.message.partition(". ")
        return reason, advice
    reason, _, advice = error.message.rpartition("; ")
    return (reason, advice) if reason else (error.message, "look at this scan with other software")
