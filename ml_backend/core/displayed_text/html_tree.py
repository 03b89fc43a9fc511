"""Builds the tree of HTML from its tags and texts, see `html_nodes`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ml_backend.core.displayed_text import html_elements as names

MAX_DEPTH = 500
"""The depth from which a browser may change the tree: Chromium has a limit of 512."""
_BLANKS = " \t\n\f\r"


class Element:
    """An element of the tree.

    number   among the elements of the same name in the parent
    implied  the open child that no tag has opened
    """

    __slots__ = ("children", "ends_with_text", "implied", "is_path_known", "name", "number", "parent")

    def __init__(self, name: str = "", parent: Element | None = None) -> None:
        self.name, self.parent = name, parent
        self.number = parent.add_child(name) if parent else 0
        self.children: Counter[str] = Counter()
        self.ends_with_text = False
        self.implied: Element | None = None
        self.is_path_known = True

    def add_child(self, name: str) -> int:
        """The number of the new child among those of the same name."""
        self.children[name] += 1
        self.ends_with_text = False
        return self.children[name]

    @property
    def path(self) -> str | None:
        """The path from the root, None if it is unknown."""
        segments, element = [], self
        while element.parent:
            segments.append(f"/{element.name}[{element.number}]")
            element = element.parent
        return "".join(reversed(segments)) if element.is_path_known else None


@dataclass(frozen=True, slots=True)
class TextNode:
    """A text node of displayed HTML.

    number  among the text nodes of the element
    start   the position of its first character: the number of characters, and of <br>, before it
    pieces  its text
    """

    element: Element
    number: int
    start: int
    pieces: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def is_visible(self) -> bool:
        """Whether a browser shows the text."""
        return self.element.name not in names.HIDDEN

    @property
    def key(self) -> str:
        """The path as Label Studio writes it, "" if it is unknown."""
        path = self.element.path
        return "" if path is None else f"{path}/text()[{self.number}]"


class HtmlTree:
    """The tree of the tags and texts that were added.

    nodes       the text nodes, in their order
    is_ordered  whether a browser displays the texts in the order in which they were added
    """

    def __init__(self, inline: bool) -> None:
        self.nodes: list[TextNode] = []
        self.is_ordered = True
        self._root = Element()
        self._open: list[tuple[str, Element | None]] = []  # None for elements that are not displayed
        self._open_names: Counter[str] = Counter()
        self._position = 0
        self._is_in_head = not inline
        self._removed_from = 0  # the number of open elements up to the one that Label Studio removes
        self._new_preformatted: Element | None = None

    def open(self, name: str) -> None:
        """Begins an element."""
        closed = names.CLOSED_BY.get(name, frozenset())
        while self._open and self._open[-1][0] in closed:
            self._pop()
        element = self._displayed_element(name)
        self._new_preformatted = element if name in ("pre", "listing") else None
        if name == "br" and element:
            self._position += 1
        if name not in names.VOID:
            self._open.append((name, element))
            self._open_names[name] += 1
            if name in names.REMOVED and not self._removed_from:
                self._removed_from = len(self._open)
        if len(self._open) > MAX_DEPTH:
            self._root.is_path_known = False

    def close(self, name: str) -> None:
        """Ends an element, and all those in it."""
        if name == "br" or (name == "p" and not self._open_names["p"]):
            self.open(name)
        while self._open_names[name]:
            if self._pop() == name:
                return

    def add_text(self, text: str) -> int:
        """Adds a text; returns the number of characters at its end that are displayed."""
        if self._removed_from:
            return 0
        if self._is_in_head:
            text = text.lstrip(_BLANKS) if self._innermost() is self._root else ""
            self._is_in_head = not text
        element = self._innermost()
        if element is self._new_preformatted:
            text = text.removeprefix("\n")
            self._new_preformatted = None
        if not text:
            return 0
        if element.name in names.TABLE and text.strip(_BLANKS):
            self.is_ordered = False
        if not element.ends_with_text:
            self.nodes.append(TextNode(element, element.add_child("text()"), self._position))
            element.ends_with_text = True
        self.nodes[-1].pieces.append(text)
        self._position += len(text)
        return len(text)

    def _displayed_element(self, name: str) -> Element | None:
        """The element that a tag begins, None if it is not displayed, and the innermost one if a browser ignores the
        tag."""
        if self._removed_from or name in names.REMOVED:
            return None
        if name in names.ROOTS:
            self._is_in_head &= name != "body"
            return self._innermost()
        if self._is_in_head and name in names.HEAD:
            return Element()  # outside of the displayed tree
        self._is_in_head = False
        self.is_ordered &= name not in names.READ_AS_TEXT
        if self._root.is_path_known and self._is_rearranged(name):
            self._root.is_path_known = False
        return Element(name, self._parent(name))

    def _is_rearranged(self, name: str) -> bool:
        """Whether a browser closes, or moves, elements when an element begins, so that paths are others."""
        if name in names.REARRANGED:
            return True
        rearranged, limits = names.REARRANGED_IN.get(name, (frozenset(), frozenset()))
        if any(self._open_names[other] for other in rearranged):
            for other, _ in reversed(self._open[-MAX_DEPTH:]):
                if other in rearranged or other in limits:
                    return other in rearranged
        return False

    def _parent(self, name: str) -> Element:
        """The parent of an element that begins. In tables, some parents need no tags."""
        element, parents = self._innermost(), names.TABLE_PARENTS.get(name)
        if parents is None:
            self.is_ordered &= element.name not in names.TABLE or name == "style"
            return element
        while element.name not in parents and element.parent and element.parent.implied is element:
            element = element.parent
            element.implied = None
        if element.name in parents:
            return element
        if name not in names.IMPLIED_PARENT:
            self.is_ordered = False
            return element
        parent = self._parent(names.IMPLIED_PARENT[name])
        parent.implied = Element(names.IMPLIED_PARENT[name], parent)
        return parent.implied

    def _innermost(self) -> Element:
        element = (self._open[-1][1] if self._open else None) or self._root
        while element.implied:
            element = element.implied
        return element

    def _pop(self) -> str:
        name, _ = self._open.pop()
        self._open_names[name] -= 1
        if len(self._open) < self._removed_from:
            self._removed_from = 0
        return name
