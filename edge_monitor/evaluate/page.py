"""The page that people rate captions on: one HTML file that works without network or server; pure."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from edge_monitor.evaluate import document
from edge_monitor.evaluate.sheet import RATINGS

if TYPE_CHECKING:
    from edge_monitor.evaluate.sheet import Sheet, Slot


def render(sheet: Sheet) -> str:
    """Return index.html. It names no clip and no method of a caption; sounds and pictures are files beside it."""
    script = (document.HERE / "page.js").read_text("utf-8")
    # Captions come from models: nothing but this very script runs, and nothing is fetched from anywhere.
    allowed = {"img-src": "'self' file:", "media-src": "'self' file:", "script-src": document.hash_source(script)}
    return document.page(
        "page",
        f"Listening sheet {sheet.name}",
        allowed,
        sheet=sheet.name,
        captions=str(sum(len(item.captions) for item in sheet.items)),
        missing=_missing(sheet),
        items="\n".join(_item(sheet, position) for position in range(len(sheet.items))),
        script=script,
    )


def _missing(sheet: Sheet) -> str:
    if not sheet.missing:
        return ""
    lines = "".join(f"<li>{escape(method)}: {escape(why)}</li>" for method, why in sheet.missing.items())
    return f"<details><summary>Methods that are not on this sheet</summary><ul>{lines}</ul></details>\n"


def _item(sheet: Sheet, position: int) -> str:
    item, name = sheet.items[position], sheet.item_name(position)
    title = f"Item {position + 1} of {len(sheet.items)}: {item.machine} {item.machine_id}"
    normals = ["Normal sound 1 (nearest)", *(f"Normal sound {number}" for number in range(2, 1 + len(item.normals)))]
    sounds = "".join(
        f'<figure><figcaption>{label}</figcaption><audio controls preload="none" src="{escape(sound.file)}"'
        f' aria-label="{label}"></audio></figure>'
        for label, sound in zip(("The sound that stood out", *normals), (item.sound, *item.normals), strict=True)
    )
    pictures = "".join(
        f'<img src="{escape(picture)}" alt="Spectrograms of the sound that stood out and of normal sound {number},'
        ' and the change in each band" loading="lazy">'
        for number, picture in enumerate(item.pictures, start=1)
    )
    slots = "\n".join(_slot(name, slot) for slot in sheet.slots(position))
    return f"""<section aria-labelledby="{name}">
<h2 id="{name}">{escape(title)}</h2>
<div class="sounds">{sounds}</div>
{pictures}
{slots}
</section>"""


def _slot(name: str, slot: Slot) -> str:
    group = f"{name}-{slot.slot}"
    words = {RATINGS[0]: " worst", RATINGS[-1]: " best"}
    choices = "".join(
        f'<label><input type="radio" name="{group}" value="{rating}">{rating}{words.get(rating, "")}</label>'
        for rating in RATINGS
    )
    return (
        f'<fieldset data-item="{name}" data-slot="{slot.slot}" aria-describedby="{group}">'
        f'<legend>Caption {slot.slot}</legend><p id="{group}">{escape(slot.text)}</p><div>{choices}</div></fieldset>'
    )
