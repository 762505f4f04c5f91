"""The page that people rate captions on: one HTML file that works without network or server; pure."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from edge_monitor.evaluate.document import hash_source, head

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_monitor.evaluate.sheet import Item, Sheet, Slot, Sound

RATINGS = (1, 2, 3, 4, 5)  # the paper, IV-A: 1 represents the worst, 5 the best
_HERE = Path(__file__).parent


def render(sheet: Sheet) -> str:
    """Return index.html. It names no clip and no method of a caption; sounds and pictures are files beside it."""
    style, script = ((_HERE / name).read_text("utf-8") for name in ("page.css", "page.js"))
    # Captions come from models: nothing but this very script runs, and nothing is fetched from anywhere.
    opening = head(
        f"Listening sheet {sheet.name}",
        style,
        img_src="'self' file:",
        media_src="'self' file:",
        script_src=hash_source(script),
    )
    items = "\n".join(_item(sheet, position) for position in range(len(sheet.items)))
    return rf"""{opening}
<body data-sheet="{sheet.name}">
<form id="sheet" autocomplete="off">
<header>
<p><label for="rater">Your name</label> <input id="rater" name="rater" required pattern=".*\S.*" maxlength="80">
<button type="button" id="next">Next unrated</button>
<button type="button" id="download">Download CSV</button>
<button type="button" id="clear">Clear answers</button></p>
<p><progress id="bar" value="0" max="{sum(len(item.captions) for item in sheet.items)}"></progress>
<output id="progress" aria-live="polite"></output> <strong id="note" role="alert"></strong></p>
</header>
<main>
<h1>How well do these captions explain the difference?</h1>
<p>Each item has a sound that stood out, and the normal sounds of the same machine that come nearest to it.</p>
<ol>
<li>Listen to the sound, then to the normal ones. Leave the volume as it is within an item.</li>
<li>Rate how well each caption explains the differences between them: 1 is the worst, 5 the best.
The captions of an item stand in random order.</li>
<li>Download the CSV at the end and send it to whoever gave you this sheet.
Until then your answers stay in this browser.</li>
</ol>
{_missing(sheet)}{items}
</main>
</form>
<noscript>This form needs JavaScript.</noscript>
<script>{script}</script>
</body>
</html>
"""


def _missing(sheet: Sheet) -> str:
    if not sheet.missing:
        return ""
    lines = "".join(f"<li>{escape(method)}: {escape(why)}</li>" for method, why in sheet.missing.items())
    return f"<details><summary>Methods that are not on this sheet</summary><ul>{lines}</ul></details>\n"


def _item(sheet: Sheet, position: int) -> str:
    item = sheet.items[position]
    name = sheet.item_name(position)
    title = f"Item {position + 1} of {len(sheet.items)}: {item.machine} {item.machine_id}"
    sounds = "".join(_sounds(item))
    slots = "\n".join(_slot(name, slot) for slot in sheet.slots(position))
    return f"""<section aria-labelledby="{name}">
<h2 id="{name}">{escape(title)}</h2>
<div class="sounds">{sounds}</div>
{"".join(_pictures(item))}
{slots}
</section>"""


def _sounds(item: Item) -> Iterator[str]:
    yield _player("The sound that stood out", item.sound)
    for number, normal in enumerate(item.normals, start=1):
        yield _player(f"Normal sound {number}{' (nearest)' if number == 1 else ''}", normal)


def _player(label: str, sound: Sound) -> str:
    player = f'<audio controls preload="none" src="{escape(sound.file)}" aria-label="{label}"></audio>'
    return f"<figure><figcaption>{label}</figcaption>{player}</figure>"


def _pictures(item: Item) -> Iterator[str]:
    for number, picture in enumerate(item.pictures, start=1):
        shown = f"Spectrograms of the sound that stood out and of normal sound {number}, and the change in each band"
        yield f'<img src="{escape(picture)}" alt="{shown}" loading="lazy">'


def _slot(name: str, slot: Slot) -> str:
    attributes = f'data-item="{name}" data-slot="{slot.slot}"'
    group = f"{name}-{slot.slot}"
    words = {RATINGS[0]: " worst", RATINGS[-1]: " best"}
    choices = "".join(
        f'<label><input type="radio" name="{group}" value="{rating}">{rating}{words.get(rating, "")}</label>'
        for rating in RATINGS
    )
    legend = f"<legend>Caption {slot.slot}</legend>"
    text = f'<p id="{group}">{escape(slot.text)}</p>'
    return f'<fieldset {attributes} aria-describedby="{group}">{legend}{text}<div>{choices}</div></fieldset>'
