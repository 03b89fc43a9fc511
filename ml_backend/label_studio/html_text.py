"""Extracts the visible text of HTML, as a `HyperText` tag shows it."""

from __future__ import annotations

import re
from html import unescape

# each expression takes time in proportion to the length of any text; the HTML parser of the standard library does not
_INVISIBLE = re.compile(r"<(script|style)\b.*?(?:</\1\s*>|$)|<!--.*?(?:-->|$)", re.IGNORECASE | re.DOTALL)
_INLINE_TAGS = "a abbr b bdi bdo cite code em font i kbd mark q s small span strong sub sup tt u var wbr"
_INLINE = re.compile(rf"</?(?:{_INLINE_TAGS.replace(' ', '|')})(?:[\s/][^<>]*)?>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-z][^<>]*>|<[!?][^<>]*>", re.IGNORECASE)


def visible_text(html: str) -> str:
    """The text that a reader sees, in one line. Text that is not HTML is returned as it is, with single blanks."""
    visible = _INLINE.sub("", _INVISIBLE.sub(" ", html))
    return " ".join(unescape(_TAG.sub(" ", visible)).split())
