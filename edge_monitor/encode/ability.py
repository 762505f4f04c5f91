"""What a bundle can do beside encoding sound, and which bundle can what it cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_monitor.encode.bundle import BundleStatus, list_bundles
from edge_monitor.errors import BundleError

if TYPE_CHECKING:
    from pathlib import Path

    from edge_monitor.encode.bundle import Bundle
    from edge_monitor.encode.manifest import Ability

_WORDS: dict[Ability, str] = {
    "audio": "does not encode sound",
    "captions": "does not write captions",
    "text-similarity": "does not compare sound with texts",
}


def require_ability(bundle: Bundle, ability: Ability, state_dir: Path | None = None) -> None:
    """Check that a bundle has an ability. Raises BundleError that names the bundles that have it."""
    if ability in bundle.manifest.abilities:
        return
    able = [
        listing
        for listing in list_bundles(state_dir)
        if not listing.shadowed and listing.bundle is not None and ability in listing.bundle.manifest.abilities
    ]
    ready = [listing.name for listing in able if listing.status is BundleStatus.READY]
    if ready:
        hint = f"{', '.join(ready)} {'does' if len(ready) == 1 else 'do'}"
    elif able and able[0].bundle and able[0].bundle.manifest.get:
        hint = f"{able[0].name} does, once it is there: `{able[0].bundle.manifest.get}`"
    else:
        hint = "no bundle that is installed does"
    raise BundleError(f"the bundle {_WORDS[ability]}", where=bundle.name, hint=hint)
