"""The page works from a local file, hides whose caption is whose, and writes the CSV that the tally reads."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from edge_monitor.evaluate import page
from edge_monitor.evaluate.page import render
from edge_monitor.evaluate.ratings import read_answers, read_key
from edge_monitor.evaluate.sheet import Item, Sheet, Sound

SCRIPT = Path(page.__file__).with_name("page.js")
METHODS = {"measured": "7 dB louder.", "text-decoder": "This sound is wet.", "zero-shot": "This sound is dull."}


def item(number: int) -> Item:
    """Return an item with four normals and three captions."""
    return Item(
        machine="pump",
        machine_id="id_00",
        anomalous=True,
        score=7.5,
        sound=Sound(f"audio/{number:03d}-0.flac", f"pump/test/anomaly_id_00_0000000{number}.wav", 0.0),
        normals=tuple(Sound(f"audio/{number:03d}-{n}.flac", f"pump/train/{n}.wav", 0.0) for n in (1, 2, 3, 4)),
        pictures=tuple(f"pictures/{number:03d}-{n}.png" for n in (1, 2, 3, 4)),
        captions=METHODS,
    )


def sheet(items: int = 2, seed: int = 0) -> Sheet:
    """Return a sheet of so many items."""
    return Sheet(tuple(map(item, range(1, items + 1))), {"combination": "no LLM & no <key>"}, seed, {"bundle": "b"})


class _Parsed(HTMLParser):
    """Every tag with its attributes, and the text of some."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, str] = {}
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in {"meta", "input", "img"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts[self.open[-1]] = self.texts.get(self.open[-1], "") + data

    def all(self, tag: str) -> list[dict[str, str]]:
        """Return the attributes of every such tag."""
        return [attributes for name, attributes in self.tags if name == tag]


def test_each_item_has_its_sounds_spectrogram_and_a_rating_for_each_caption() -> None:
    """Five players, a picture with each normal, described, and five labelled choices to a caption."""
    parsed = _Parsed(render(sheet()))
    assert parsed.open == []
    assert [audio["src"] for audio in parsed.all("audio")][:5] == [f"audio/001-{n}.flac" for n in range(5)]
    assert len(parsed.all("audio")) == 10
    assert [image["src"] for image in parsed.all("img")] == [
        f"pictures/00{i}-{n}.png" for i in (1, 2) for n in (1, 2, 3, 4)
    ]
    assert all(image["alt"] for image in parsed.all("img"))
    radios = [choice for choice in parsed.all("input") if choice.get("type") == "radio"]
    assert [radio["value"] for radio in radios] == ["1", "2", "3", "4", "5"] * 6
    assert len({radio["name"] for radio in radios}) == 6
    assert len(parsed.all("label")) == 1 + 30
    first = parsed.all("fieldset")[0]
    facts = {name: value for name, value in first.items() if name.startswith("data-")}
    assert facts == {"data-item": sheet().item_name(0), "data-slot": "A"}
    identifiers = [attributes["id"] for _, attributes in parsed.tags if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))


def test_nothing_is_fetched_and_only_its_own_script_runs() -> None:
    """No address outside the folder is in the page, and its policy names the script and style by their hashes."""
    html = render(sheet())
    assert "//" not in html.replace("// ", "")  # comments of the script aside
    parsed = _Parsed(html)
    policy = next(meta["content"] for meta in parsed.all("meta") if "http-equiv" in meta)
    assert policy.startswith("default-src 'none'; ")
    for tag in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(parsed.texts[tag].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert not parsed.all("link")
    assert "src" not in parsed.all("script")[0]


def test_the_page_names_no_clip() -> None:
    """A clip's name says what it is: "anomaly" stands in it, or the folder of the test."""
    html = render(sheet())
    assert "anomaly" not in html
    assert ".wav" not in html


def test_the_page_names_no_method_of_a_caption_but_those_that_are_missing() -> None:
    """Whose caption stands where is in the key alone."""
    html = render(sheet())
    assert not [method for method in METHODS if f"{method}<" in html or f'"{method}"' in html]
    assert "text-decoder" not in html
    assert "zero-shot" not in html
    assert "<li>combination: no LLM &amp; no &lt;key&gt;</li>" in html


def test_the_order_of_captions_is_random_and_the_seeds() -> None:
    """Over many items each method comes first about equally often; the same seed gives the same sheet."""
    many = sheet(items=60)
    first = [many.slots(position)[0].method for position in range(60)]
    assert all(10 <= first.count(method) <= 30 for method in METHODS)
    assert render(sheet(seed=3)) == render(sheet(seed=3))
    assert [sheet(60, seed=1).slots(n) for n in range(60)] != [many.slots(n) for n in range(60)]


def test_a_caption_cannot_become_a_part_of_the_page() -> None:
    """Captions come from models: markup in one is text."""
    nasty = '</p><script>alert("1")</script><img src=x>'
    one = sheet(items=1)
    html = render(replace(one, items=(replace(one.items[0], captions={"measured": nasty}),)))
    parsed = _Parsed(html)
    assert len(parsed.all("script")) == 1
    assert nasty in parsed.texts["p"]


def test_the_key_tells_whose_caption_is_where(tmp_path: Path) -> None:
    """Every caption's method, and what the data set says of the sound."""
    one = sheet(items=1)
    (tmp_path / "key.json").write_text(one.key())
    (told,) = read_key(tmp_path / "key.json").values()
    assert sorted(told.methods.items()) == [(slot.slot, slot.method) for slot in one.slots(0)]
    content = json.loads(one.key())
    assert content["items"][0]["anomalous"] is True
    assert content["missing"] == {"combination": "no LLM & no <key>"}


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node, which runs the page's own script")
def test_the_csv_of_the_form_is_what_the_tally_reads(tmp_path: Path) -> None:
    """The page's script writes RFC 4180: commas and quotes in names survive."""
    one = sheet(items=1)
    name = one.item_name(0)
    answers = [{"item": name, "slot": slot, "rating": rating} for slot, rating in (("A", "5"), ("C", "2"))]
    call = f"process.stdout.write(toCsv('Zoë, \"Z\"', {json.dumps(answers)}))"
    done = subprocess.run(["node", "-e", SCRIPT.read_text("utf-8") + call], capture_output=True, check=True, timeout=30)
    assert done.stdout.decode() == (f'rater,item,slot,rating\r\n"Zoë, ""Z""",{name},A,5\r\n"Zoë, ""Z""",{name},C,2\r\n')
    (tmp_path / "key.json").write_text(one.key())
    (tmp_path / "z.csv").write_bytes(done.stdout)
    read = read_answers([tmp_path / "z.csv"], read_key(tmp_path / "key.json"))
    assert read.complaints == ()
    methods = {slot.slot: slot.method for slot in one.slots(0)}
    assert [(rating.rater, rating.method, rating.value) for rating in read.ratings] == [
        ('Zoë, "Z"', methods["A"], 5),
        ('Zoë, "Z"', methods["C"], 2),
    ]
