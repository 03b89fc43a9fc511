"""Takes off what a language model puts around a draft. What cannot be taken off is left to `core.draft_checks`."""

from __future__ import annotations

import re

_ROLE = re.compile(r"^\s*(?:assistant|user|system|human|ai)\s*:\s*", re.IGNORECASE)
_QUOTES = (('"""', '"""'), ("'''", "'''"), ('"', '"'), ("\u201c", "\u201d"))


def cleaned_reply(reply: str, source: str) -> str:
    """The reply without the name of a role before it and without quotation marks around it, unless the source has
    them."""
    text = reply.strip()
    if not _ROLE.match(source):
        text = _ROLE.sub("", text)
    for opening, closing in _QUOTES:
        is_quoted = len(text) >= len(opening + closing) and text.startswith(opening) and text.endswith(closing)
        if is_quoted and not source.strip().startswith(opening):
            return text[len(opening) : -len(closing)].strip()
    return text
