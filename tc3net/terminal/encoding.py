"""Output to a terminal or file that is not UTF-8: signs it lacks are written in ASCII, and no line is lost to them."""

from __future__ import annotations

import codecs
import sys
import unicodedata

_NAME = "tc3net.ascii"
# Of one character where there is one, so that columns stay below each other.
_INSTEAD = {
    "±": "+", "−": "-", "–": "-", "—": "-", "→": ">", "►": ">", "◄": "<", "≥": ">=", "≤": "<=", "…": "...", "·": ".",
    "×": "x", "²": "2", "η": "eta", "α": "alpha", "Δ": "D", "─": "-", "│": "|", "█": "#", "“": '"', "”": '"', "’": "'",
}  # fmt: skip


def _written_instead(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end]
    return "".join(map(_in_ascii, signs)), error.end


def _in_ascii(sign: str) -> str:
    letter = unicodedata.normalize("NFKD", sign)[0]  # "é" without its accent
    return _INSTEAD.get(sign) or (letter if letter.isascii() else sign.encode("ascii", "backslashreplace").decode())


def write_every_sign() -> None:
    """Makes standard output and error take every sign, whatever their encoding."""
    codecs.register_error(_NAME, _written_instead)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not where a test or a notebook put something else
            stream.reconfigure(errors=_NAME)
