"""How each HTML file of ours begins: it fetches nothing but what it says, and runs nothing that it does not name."""

from __future__ import annotations

import base64
import hashlib
from html import escape


def head(title: str, style: str, **further: str) -> str:
    """Return all before <body>: only this style applies, and nothing is loaded but what `further` directives allow.

    `further`: directives of the content security policy by their names, underscores for hyphens: `img_src="'self'"`.
    """
    allowed = {"default_src": "'none'", **further, "style_src": hash_source(style)}
    policy = "; ".join(f"{name.replace('_', '-')} {source}" for name, source in allowed.items())
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{style}</style>
</head>"""


def hash_source(text: str) -> str:
    """Return what allows exactly this inline style or script in a content security policy (CSP 2, 4.2.5)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
