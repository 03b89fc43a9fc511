"""HTML, as `HyperText` shows it -> its words."""

from __future__ import annotations

from html.parser import HTMLParser

_SILENT = ("script", "style")


def words_of(html: str) -> str:
    """What a reader sees of it, in one line. Whatever it is, it is read: what is no HTML is its own words."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return " ".join(" ".join(reader.words).split())


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.words: list[str] = []
        self._silent = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._silent = tag if tag in _SILENT else ""

    def handle_endtag(self, tag: str) -> None:
        self._silent = ""

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.words.append(data)
