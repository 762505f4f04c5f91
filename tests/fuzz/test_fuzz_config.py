"""Any bytes at all as edge-monitor.toml or manifest.toml: settings, or one clear refusal; never a traceback or hang."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_monitor.config.file import load_settings
from edge_monitor.config.settings import Settings
from edge_monitor.encode.manifest import parse_manifest, read_manifest
from edge_monitor.errors import BundleError, ConfigError
from tests.fuzz.search import EXAMPLES, thoroughly

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn

ROOT = Path(__file__).parents[2]
CONFIG = (ROOT / "edge_monitor/config/example.toml").read_text("utf-8")
MANIFEST = (ROOT / "models/spectral/manifest.toml").read_text("utf-8")
HOSTILE_NAMES = (
    "../../etc",
    "/etc/passwd",
    "a/../../b",
    "..",
    ".",
    "a\\..\\b",
    "a b",
    "pümp",
    "x" * 65,
    "+",
    "#",
    "a/b",
)

values = st.recursive(
    st.one_of(
        st.booleans(),
        st.integers(),
        st.floats().map(lambda number: {"inf": "inf", "nan": "nan"}.get(repr(number), repr(number))),
        st.text(max_size=80).map(json.dumps),
        st.sampled_from(("1979-05-27T07:32:00Z", "07:32:00", "'''a\nb'''", "0x1F", "1e400", "9" * 5000, "[" * 2000)),
    ).map(str),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.lists(inner, max_size=3).map(
            lambda items: "{ " + ", ".join(f"k{i} = {item}" for i, item in enumerate(items)) + " }"
        ),
    ),
    max_leaves=4,
)


@st.composite
def mistaken(draw: DrawFn, text: str) -> str:
    """Return a file that somebody has edited: lines lost, doubled, exchanged, and given other values."""
    lines = text.splitlines()
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        key = lines[at].partition("=")[0]
        changed = draw(
            st.one_of(
                values.map(lambda value, key=key: f"{key}= {value}"),  # type: ignore[misc]  # bound as a default
                st.sampled_from(("", "[", "[[machine]]", "[node]", "[mqtt]", '"', "=", "\0", "x = 1")),
                st.text(max_size=40),
            )
        )
        lines[at : at + draw(st.integers(0, 2))] = [changed]
        lines = lines or [""]
    return "\n".join(lines)


def one_clear_refusal(error: BaseException, where: str) -> None:
    """Check what a person sees: nothing but lines that begin with the file, all printable."""
    for line in str(error).splitlines():
        assert line.startswith(where), line
        assert re.sub("\t", "", line).isprintable(), line
    assert len(str(error)) < 20_000


@thoroughly
@given(content=st.one_of(mistaken(CONFIG).map(lambda text: text.encode("utf-8", "replace")), st.binary(max_size=400)))
def test_any_configuration_is_taken_or_refused_in_lines_that_name_the_file(content: bytes, tmp_path: Path) -> None:
    """Whatever is in edge-monitor.toml, there are settings or one line per mistake."""
    path = tmp_path / "edge-monitor.toml"
    path.write_bytes(content)
    try:
        load_settings(path)
    except ConfigError as error:
        one_clear_refusal(error, str(path))


WORDS = st.sampled_from(
    [
        "[node]",
        "[model]",
        "[mqtt]",
        "[mqtt.tls]",
        "[[machine]]",
        "[machine.alarm]",
        "[machine.running]",
        "[retention]",
        'site = "a"',
        'name = "a"',
        "name = 1",
        'host = "h"',
        "port = 99999",
        "raise = [1, 2, 3]",
        "raise = 1",
        'source = { kind = "microphone", device = "d" }',
        'source = { kind = "recording", path = "\\u0000" }',
        "source = 1",
        'source.kind = "simulator"',
        "source = []",
        "hop_s = nan",
        "hop_s = 1979-05-27",
        'gate = "x"',
        "threshold = -1",
        "machine = []",
        "machine = [1]",
        "node = 1",
        '"" = 1',
        '"a.b" = 1',
        "x = '''\n[node]\n'''",
        "evidence = true",
        "\r",
        "tls = {}",
    ]
)


@settings(thoroughly, max_examples=max(EXAMPLES, 300))
@given(lines=st.lists(WORDS, max_size=14))
def test_any_arrangement_of_keys_gives_settings_or_a_refusal_with_lines(lines: list[str], tmp_path: Path) -> None:
    """Real keys in the wrong places never crash, and every line told exists."""
    path = tmp_path / "edge-monitor.toml"
    path.write_text("\n".join(lines), "utf-8", newline="")
    try:
        loaded = load_settings(path)
    except ConfigError as error:
        for line in str(error).splitlines():
            number = line.removeprefix(f"{path}:").partition(":")[0]
            assert 1 <= int(number) <= "\n".join(lines).count("\n") + 1
    else:
        assert isinstance(loaded, Settings)


@thoroughly
@given(text=st.one_of(mistaken(MANIFEST), st.text(max_size=400)))
def test_any_manifest_is_taken_or_refused_in_one_line(text: str) -> None:
    """Whatever is in manifest.toml, there is a manifest or a refusal that names the file."""
    try:
        parse_manifest(text, where="manifest.toml")
    except BundleError as error:
        one_clear_refusal(error, "manifest.toml")


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 5000, "{a=" * 5000])
def test_a_number_too_long_and_a_nesting_too_deep_are_refused(tmp_path: Path, value: str) -> None:
    """What breaks the TOML parser itself is a mistake of the file, in both kinds of file."""
    path = tmp_path / "edge-monitor.toml"
    path.write_text(f"x = {value}\n")
    with pytest.raises(ConfigError):
        load_settings(path)
    with pytest.raises(BundleError):
        parse_manifest(f"x = {value}\n", where="manifest.toml")


def test_a_mistake_in_a_huge_array_is_told_within_seconds(tmp_path: Path) -> None:
    """Finding the lines of mistakes ends, however many lines a value has."""
    path = tmp_path / "edge-monitor.toml"
    path.write_text(CONFIG.replace("[node]", f"[node]\nx = [\n{'1,' * 10 + chr(10)}" + "1,\n" * 40_000 + "]\ny = 1", 1))
    began_s = time.process_time()
    with pytest.raises(ConfigError, match="unknown key") as refused:
        load_settings(path)
    assert time.process_time() - began_s < 20.0
    one_clear_refusal(refused.value, str(path))


def test_a_device_in_place_of_a_manifest_is_refused(tmp_path: Path) -> None:
    """A manifest that never ends costs no memory."""
    (tmp_path / "manifest.toml").symlink_to("/dev/zero")
    with pytest.raises(BundleError, match=r"larger than 1 MB"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("name", HOSTILE_NAMES)
@pytest.mark.parametrize("key", ["site", "name", "machine"])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, key: str, name: str) -> None:
    """Site, node and machine become topics and folders: none may leave its place."""
    path = tmp_path / "edge-monitor.toml"
    text = {"site": "plant", "name": "edge", "machine": "pump", key: name}
    path.write_text(
        f"[node]\nsite = {json.dumps(text['site'])}\nname = {json.dumps(text['name'])}\n"
        f'[[machine]]\nname = {json.dumps(text["machine"])}\nsource = {{ kind = "simulator" }}\n'
    )
    with pytest.raises(ConfigError):
        load_settings(path)


@pytest.mark.parametrize("name", ["../model.onnx", "/etc/passwd", "a/../../b", "..", "a\\b", "", "a\0b", "ä"])
def test_a_manifest_names_only_files_of_its_own_folder(name: str) -> None:
    """No file of a bundle lies outside it."""
    text = MANIFEST.replace('"model.onnx"', json.dumps(name))
    assert text != MANIFEST
    with pytest.raises(BundleError):
        parse_manifest(text, where="manifest.toml")
