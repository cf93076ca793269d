"""Where `bench.final` keeps what it measured: FOLDER/CASE/SYSTEM.json, written one at a time, so a run can go on."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SERVICE = "service"
"""The system whose rows have no system's name before them."""


@dataclass(frozen=True)
class Store:
    """Of one model and one size of pixels."""

    folder: Path
    model: Path
    in_plane: int

    @property
    def identity(self) -> str:
        """Of the model, in words."""
        return f"{self.model.parent.name} {self.model.name}"

    def claim(self) -> None:
        """Make the folder this model's, or find that it is: numbers of another one must not stand under its name.

        Raises:
            SystemExit: If it is another one's.
        """
        digest = hashlib.sha256((self.model / "model.onnx").read_bytes()).hexdigest()
        setting, file = {"model": digest, "in_plane": self.in_plane}, self.folder / "setting.json"
        if file.is_file() and json.loads(file.read_text()) != setting:
            raise SystemExit(f"{self.folder} holds results of another model or other pixels; name another folder")
        self.folder.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(setting) + "\n")

    def has(self, case: str, system: str) -> bool:
        """Whether this was measured."""
        return self._file(case, system).is_file()

    def write(self, case: str, system: str, measured: Mapping[str, Any]) -> None:
        """As a whole or not at all."""
        file = self._file(case, system)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.with_suffix(".part").write_text(json.dumps(measured, indent=1) + "\n")
        file.with_suffix(".part").replace(file)

    def read(self, case: str, systems: Sequence[str]) -> dict[str, Any]:
        """Some systems of one case as one: 'mm' by row and organ, 'told' by organ."""
        mm: dict[str, Any] = {}
        told: dict[str, Any] = {}
        for system in systems:
            content = json.loads(self._file(case, system).read_text())
            mm |= content["mm"]
            told |= content.get("told", {})
        return {"mm": mm, "told": told}

    def take_over(self, report: Mapping[str, Any], cases: Collection[str]) -> None:
        """Take what a final.json says of some cases as if it had been measured into the folder.

        Raises:
            SystemExit: If it is of another model or other pixels, or lacks one of the cases.
        """
        if (report["model"], report["in_plane"]) != (self.identity, self.in_plane):
            raise SystemExit(f"--kept is of {report['model']} at {report['in_plane']} pixels; leave it out")
        if lacking := sorted(set(cases) - set(report["cases"])):
            raise SystemExit(f"--kept lacks {', '.join(lacking)}; give the seed and the days that it was drawn with")
        for case in cases:
            of: dict[str, dict[str, Any]] = {}
            for row, mm in report["cases"][case]["mm"].items():
                of.setdefault(row.rpartition(", ")[0] or SERVICE, {"mm": {}})["mm"][row] = mm
            of[SERVICE]["told"] = report["cases"][case]["told"]
            for system, measured in of.items():
                self.write(case, system, measured)

    def _file(self, case: str, system: str) -> Path:
        return self.folder / case / f"{system.replace(',', '').replace(' ', '-')}.json"
