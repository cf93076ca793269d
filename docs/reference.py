"""Writes what can be read off the code: docs/problems.md and the table of settings in docs/deploy.md (`make docs`).

The architecture tests compare both with the files, so that neither can fall behind.
"""

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from imaging import errors
from service.problems import PROBLEMS
from service.settings import PREFIX, Settings

DOCS = Path(__file__).resolve().parent
SETTINGS_BEGIN = "<!-- settings: written by `make docs` -->"
SETTINGS_END = "<!-- end of settings -->"

PROBLEMS_HEAD = """\
# Problems

Every refusal is `application/problem+json` (RFC 9457). Its `type` is `/problems/<code>`; codes are stable, texts may
improve. `detail` holds the numbers of the case at hand, never a name, an identifier, a date or a UID. Where the answer
is a problem there is no structure set: nothing was contoured.

`make docs` writes this page from `service/problems.py` and `imaging/errors.py`.
"""


def problems_page() -> str:
    """The whole of docs/problems.md: every code with what it means and what to do next, by status."""
    meanings = {kind.code: inspect.cleandoc(kind.__doc__ or "") for kind in _family(errors.RecontouringError)}
    lines = [PROBLEMS_HEAD]
    for status in sorted({kind.status for kind in PROBLEMS.values()}):
        lines += [
            f"## {status} {HTTPStatus(status).phrase}",
            "",
            "| code | what it means | what to do |",
            "|---|---|---|",
        ]
        for code, kind in sorted(PROBLEMS.items()):
            if kind.status == status:
                meaning = " ".join(meanings.get(code, f"{kind.title}.").split())
                lines.append(f"| `{code}` | {meaning} | {kind.advice} |")
        lines.append("")
    return "\n".join(lines)


def settings_table() -> str:
    """A row for every setting, nested ones included, as environment variables."""
    rows = [f"| `{name}` | {default} | {text} |" for name, default, text in _settings(Settings, PREFIX)]
    return "\n".join(["| variable | default | meaning |", "|---|---|---|", *rows])


def with_settings(page: str) -> str:
    """A page whose marked part is the table of settings of today."""
    pattern = re.compile(re.escape(SETTINGS_BEGIN) + ".*?" + re.escape(SETTINGS_END), re.DOTALL)
    text = f"{SETTINGS_BEGIN}\n{settings_table()}\n{SETTINGS_END}"
    changed, count = pattern.subn(lambda _: text, page)
    if count != 1:
        raise ValueError(f"the markers of the table of settings stand {count} times in the page, not once")
    return changed


def _family(root: type[errors.RecontouringError]) -> Iterator[type[errors.RecontouringError]]:
    yield root
    for kind in root.__subclasses__():
        yield from _family(kind)


def _settings(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str]]:
    for name, field in model.model_fields.items():
        nested = field.annotation
        if isinstance(nested, type) and issubclass(nested, BaseModel):
            yield from _settings(nested, f"{prefix}{name}__".upper())
        else:
            yield f"{prefix}{name}".upper(), _default(field), field.description or ""


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is None or value in ((), ""):
        return "none"
    if isinstance(value, Mapping):
        return f"`{json.dumps(value)}`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def main() -> None:
    """Write both pages."""
    (DOCS / "problems.md").write_text(problems_page())
    deploy = DOCS / "deploy.md"
    deploy.write_text(with_settings(deploy.read_text()))


if __name__ == "__main__":
    main()
