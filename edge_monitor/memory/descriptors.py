"""What was measured of a normal when it was enrolled, as its row keeps it."""

from __future__ import annotations

import json
from dataclasses import dataclass

from edge_monitor.errors import NormalsError


@dataclass(frozen=True, slots=True)
class Descriptors:
    """None: not measured, as of a normal that was learnt from a rejected alarm."""

    quietest_dbfs: float | None = None  # level of its quietest moment, dB re full scale: for the gate
    acoustics: str | None = None  # JSON, as `explain.acoustics.Acoustics.to_json` writes it: for explanations

    def to_json(self) -> str:
        """Return what a row keeps. Raises NormalsError when the acoustics are not JSON."""
        try:
            acoustics = None if self.acoustics is None else json.loads(self.acoustics)
        except ValueError as error:
            raise NormalsError(f"a window's acoustics are not JSON: {error}") from error
        return json.dumps({"quietest_dbfs": self.quietest_dbfs, "acoustics": acoustics})

    @classmethod
    def from_json(cls, text: str) -> Descriptors:
        """Return what a row keeps; earlier versions kept the acoustics as JSON text in the JSON.

        Raises NormalsError when it is damaged.
        """
        try:
            fields = json.loads(text)
            quietest_dbfs, acoustics = fields.get("quietest_dbfs"), fields.get("acoustics")
            return cls(
                None if quietest_dbfs is None else float(quietest_dbfs),
                acoustics if acoustics is None or isinstance(acoustics, str) else json.dumps(acoustics),
            )
        except (ValueError, TypeError, AttributeError) as error:
            raise NormalsError(f"stored descriptors of a normal cannot be read: {error}") from error
