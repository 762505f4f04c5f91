"""Captions that may go further, and those that were decoded before.

What is said near a machine stays there: no caption is stored, or comes out, that speaks of people or voices. A vector's
words depend on nothing but the vector and the decoder.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

    from edge_monitor.records import Vector

WITHHELD = "Sounds like people or voices (caption withheld)"

# Whole words, so that what machines do is left alone: valves chatter, rods knock and rap, motors murmur and whine. Who
# is heard decides most cases: "a man murmurs" is withheld for the man.
_TELLTALE = re.compile(
    r"""\b(
        \w*m[ae]n | males? | females? | persons? | personnel | people\w* | humans? | somebody | someone | anybody
      | anyone | everybody | everyone | (he|she|him|his|hers?|himself|herself) | guys? | lad(s|y|ies)? | adults?
      | child\w* | kids? | kiddo | bab(y|ies) | infants? | toddlers? | teen\w* | (school)?(boys?|girls?)
      | mothers? | fathers? | mom | mum | dad | parents? | brothers? | sisters? | sons? | daughters? | wi(fe|ves)
      | husbands? | friends? | famil(y|ies) | neighbou?rs?
      | crowd\w* | audiences? | spectators? | public | passengers? | pedestrians? | passers?-?by | visitors? | guests?
      | worker\w* | operators? | employees? | colleagues? | coworkers? | staff | crews? | mechanics? | technicians?
      | engineers? | supervisors? | customers? | managers? | boss(es)?
      | teachers? | students? | pupils? | reporters? | journalists? | politicians? | presidents? | priests? | pastors?
      | doctors? | nurses? | actors? | actress(es)? | auction\w* | callers?
    )\b | \b(
        (tele|cell|mega|smart|ear|head)?phones? | telephon\w* | intercoms? | walkie\W?talkies? | loudhailers?
      | radios? | televisions? | tv | tvs | broadcast\w* | podcasts? | news | newscast\w* | recorded\s+message
    )\b | \b(
        speech\w* | speak\w* | spok\w+ | talk\w* | voice\w* | vocal\w* | vowel\w* | utter(s|ed|ing|ance\w*)? | verbal\w*
      | convers(e|es|ed|ing|ation\w*) | dialog\w* | monolog\w* | discuss\w* | debat\w+ | chat(s|ted|ting)? | gossip\w*
      | interview\w* | negotiat\w+ | argu(e|es|ed|ing|ments?) | quarrel\w* | bicker\w*
      | say(s|ing)? | said | words? | sentences? | languages? | phrases? | stor(y|ies) | storytell\w* | hello | goodbye
      | ask(s|ed|ing)? | question\w* | answer(s|ed|ing)? | repl(y|ies|ied|ying) | tell(s|ing)? | told | explain\w*
      | explanation\w* | describ(e|es|ed|ing) | mention\w* | remark(s|ed|ing)? | comment\w* | complain\w* | instruct\w*
      | greet\w* | call(s|ed|ing)? | pronounc\w+ | count(s|ed|ing)?\s+(from|to|down|aloud)
      | read(s|er|ers|ing)? | recit\w+ | dictat\w+ | poe(m|ms|t|ts|try) | orat(e|es|ed|ing|or|ors|ion\w*)
      | announc\w+ | narrat\w+ | lectur\w+ | preach\w* | sermon\w* | pray(s|ed|ing|ers?)? | present(er\w*|ations?)
      | whisper\w* | mumbl\w+ | mutter\w* | babbl\w+ | gibber\w+ | stammer\w*
      | shout\w* | scream\w* | yell\w* | holler\w* | swear(s|ing)? | swore | curs(e|es|ed|ing) | rant(s|ed|ing)?
      | laugh\w* | giggl\w+ | chuckl\w+ | cry | cries | cried | crying | weep\w* | sob(s|bed|bing)? | cheer(s|ed|ing)?
      | applau\w+ | sing(s|ing|er|ers)? | sang | sung | songs? | choir\w* | chant\w* | rapper\w*
    )\b""",
    re.IGNORECASE | re.VERBOSE,
)


def redact(caption: str) -> str:
    """Return a caption, or a fixed phrase in its place when it speaks of people, of voices or of what carries them.

    Apply it before a caption is stored, published or put into a prompt. It errs on the side of silence: "a screaming
    bearing", "a radio hisses" and "a person uses a sewing machine" are withheld too.
    """
    return WITHHELD if _TELLTALE.search(caption) else caption


def find_caption(connection: sqlite3.Connection, vector: Vector, decoder_sha256: str) -> str | None:
    """Return the caption of a raw vector (dim,) by this decoder, redacted, if it is kept."""
    row = connection.execute(
        "SELECT text FROM captions WHERE vector_sha256 = ? AND decoder_sha256 = ?",
        (_sha256(vector), decoder_sha256),
    ).fetchone()
    return None if row is None else redact(str(row["text"]))  # an earlier version may have let it pass


def keep_caption(connection: sqlite3.Connection, vector: Vector, decoder_sha256: str, text: str) -> None:
    """Keep a caption, redacted, inside the caller's transaction."""
    connection.execute(
        "INSERT OR REPLACE INTO captions (vector_sha256, decoder_sha256, text) VALUES (?, ?, ?)",
        (_sha256(vector), decoder_sha256, redact(text)),
    )


def _sha256(vector: Vector) -> str:
    return hashlib.sha256(vector.astype("<f4").tobytes()).hexdigest()
