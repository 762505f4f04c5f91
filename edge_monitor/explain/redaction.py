"""What is said near a machine stays there: captions that speak of voices go no further."""

from __future__ import annotations

import re

WITHHELD = "Sounds like voices (caption withheld)"

# Whole words, so that what machines do is left alone: valves chatter, rods knock and rap, motors murmur and whine.
_VOICES = re.compile(
    r"""\b(
        speech\w* | speak\w* | spok\w+ | talk\w* | voice\w* | vocal\w* | vowel\w* | utter(s|ed|ing|ance\w*)?
      | convers(e|es|ed|ing|ation\w*) | dialog\w* | discuss\w* | chat(s|ted|ting)? | interview\w*
      | say(s|ing)? | said | words? | sentences?
      | announc\w+ | narrat\w+ | lectur\w+ | preach\w* | commentator\w* | presenter\w*
      | whisper\w* | shout\w* | scream\w* | yell\w* | holler\w* | laugh\w* | giggl\w+ | chuckl\w+
      | cry | cries | cried | crying | weep\w* | sob(s|bed|bing)? | cheer(s|ed|ing)?
      | sing(s|ing|er|ers)? | sang | sung | songs? | choir\w* | chant\w*
    )\b""",
    re.IGNORECASE | re.VERBOSE,
)


def redact(caption: str) -> str:
    """Return a caption, or a fixed phrase in its place when it speaks of speech, talking, singing or other voices.

    Apply it before a caption is stored, published or put into a prompt. It errs on the side of silence: "a screaming
    bearing" is withheld too.
    """
    return WITHHELD if _VOICES.search(caption) else caption
