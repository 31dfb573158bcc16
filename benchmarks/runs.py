"""The finished runs of a benchmark whose runs take long: each is written at once, and none is done twice."""

import json
from collections.abc import Mapping
from typing import Any

from benchmarks.record import BENCHMARKS_DIR, write_record


class Runs:
    """The runs in reports/benchmarks/NAME-DEVICE.json, oldest first; what the file held before stays in it."""

    def __init__(self, name: str, device: str) -> None:
        self.name, self.device = name, device

    def all(self) -> list[dict[str, Any]]:
        """The runs as the file has them now; another process may have added some."""
        path = BENCHMARKS_DIR / f"{self.name}-{self.device}.json"
        return json.loads(path.read_text(encoding="utf-8"))["runs"] if path.exists() else []

    def find(self, identity: Mapping[str, Any]) -> dict[str, Any] | None:
        """The run with these values, or None."""
        return next((run for run in self.all() if identity.items() <= run.items()), None)

    def add(self, identity: Mapping[str, Any], run: Mapping[str, Any]) -> None:
        """Write a run, in the place of those with the same identity."""
        others = [other for other in self.all() if not identity.items() <= other.items()]
        write_record(self.name, self.device, {"runs": [*others, {**identity, **run}]})
