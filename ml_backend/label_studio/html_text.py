"""HTML, as `HyperText` shows it -> its words."""

from __future__ import annotations

import re
from html import unescape

# each takes time in proportion to the letters, whatever they are: an HTML parser of the standard library does not
_UNSEEN = re.compile(r"<(script|style)\b.*?(?:</\1\s*>|$)|<!--.*?(?:-->|$)", re.IGNORECASE | re.DOTALL)
_WITHIN_WORDS = "a abbr b bdi bdo cite code em font i kbd mark q s small span strong sub sup tt u var wbr"
_INLINE = re.compile(rf"</?(?:{_WITHIN_WORDS.replace(' ', '|')})(?:[\s/][^<>]*)?>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-z][^<>]*>|<[!?][^<>]*>", re.IGNORECASE)


def words_of(html: str) -> str:
    """What a reader sees of it, in one line. Whatever it is, it is read: what is no HTML is its own words."""
    seen = _INLINE.sub("", _UNSEEN.sub(" ", html))
    return " ".join(unescape(_TAG.sub(" ", seen)).split())
