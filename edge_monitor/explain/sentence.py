"""How measured differences are put into words: clauses with figures and units, joined to one or two sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_monitor.records import Finding

_SPOKEN = 3  # findings in the sentences; the others are in the list
_KHZ = 1000.0


def sentence(findings: Sequence[Finding], largest: Finding | None) -> str:
    """Return one or two plain sentences: what stands out; or that nothing does, and the largest difference then."""
    if findings:
        clauses = [finding.text for finding in findings[:_SPOKEN]]
        first = _capital(clauses[0]) + "."
        return first if len(clauses) == 1 else f"{first} Also {', and '.join(clauses[1:])}."
    if largest is None:
        return "Nothing stands out from the nearest normal sounds."
    share = f"{100 * min(largest.deviation, 0.99):.0f} % of what would stand out"
    return f"Nothing stands out from the nearest normal sounds. The largest difference is {share}: {largest.text}."


def frequency(hz: float) -> str:
    """Return e.g. `48.5 Hz`, `672 Hz`, `1.93 kHz`."""
    if hz >= _KHZ:
        return f"{_three(hz / _KHZ)} kHz"
    return f"{_three(hz)} Hz"


def band(low_hz: float, high_hz: float) -> str:
    """Return e.g. `90-220 Hz`, `20 Hz to 7.1 kHz`, `0.71-1.4 kHz`, `2-4 kHz`."""
    if low_hz < _KHZ / 2 and high_hz >= _KHZ:
        return f"{float(f'{low_hz:.2g}'):g} Hz to {float(f'{high_hz / _KHZ:.2g}'):g} kHz"
    if high_hz >= _KHZ:
        return f"{float(f'{low_hz / _KHZ:.2g}'):g}-{float(f'{high_hz / _KHZ:.2g}'):g} kHz"
    return f"{float(f'{low_hz:.2g}'):g}-{float(f'{high_hz:.2g}'):g} Hz"


def change(difference_db: float, words: tuple[str, str] = ("higher", "lower")) -> str:
    """Return e.g. `6 dB higher`; tenths below 3 dB."""
    size = abs(difference_db)
    return f"{size:.1f} dB {words[difference_db < 0]}" if size < 3 else f"{size:.0f} dB {words[difference_db < 0]}"  # noqa: PLR2004 - see above


def rate(per_s: float) -> str:
    """Return e.g. `87.3 per second`, `0.4 per second`."""
    return f"{_three(per_s)} per second"


def listing(words: Sequence[str]) -> str:
    """Return e.g. `a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _three(value: float) -> str:
    """Return a figure with three digits."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2  # noqa: PLR2004 - see above
    return f"{value:.{digits}f}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
