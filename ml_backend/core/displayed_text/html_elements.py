"""Names of HTML elements, by what htmlparser2 (which Label Studio uses) and browsers do with them."""

from __future__ import annotations


def _names(names: str) -> frozenset[str]:
    return frozenset(names.split())


VOID = _names(
    "area base basefont br col command embed frame hr img input isindex keygen link meta param source track wbr"
)
"""Elements without content."""
REMOVED = _names("script iframe")
"""Elements that Label Studio removes with their content."""
ROOTS = _names("html head body")
HEAD = _names("base basefont bgsound link meta style title")
"""Elements that belong to the head of a document if nothing else comes before them."""
HIDDEN = _names("style title")
"""Elements whose text browsers do not show, though it counts in positions."""
READ_AS_TEXT = _names("textarea xmp noembed noframes plaintext noscript template frameset select")
"""Elements whose content browsers read in ways of their own."""

_HEADINGS = _names("h1 h2 h3 h4 h5 h6")
_BLOCKS = _HEADINGS | _names(
    "address article aside blockquote details div dl fieldset figcaption figure footer form header hr main nav ol p "
    "pre section table ul"
)
_FIELDS = _names("input option optgroup select button datalist textarea")
CLOSED_BY = {
    **dict.fromkeys(_BLOCKS, _names("p")),
    **dict.fromkeys(_names("select input output button datalist textarea"), _FIELDS),
    **dict.fromkeys(_names("dd dt"), _names("dd dt")),
    **dict.fromkeys(_names("rt rp"), _names("rt rp")),
    **dict.fromkeys(_names("tbody tfoot"), _names("thead tbody")),
    "tr": _names("tr th td"),
    "th": _names("th"),
    "td": _names("thead th td"),
    "body": _names("head link script"),
    "li": _names("li"),
    "option": _names("option"),
    "optgroup": _names("optgroup option"),
}
"""For the name of an element, the elements that htmlparser2 closes when it begins, if they are the innermost ones."""

_LISTS = _names("ul ol menu dir dl")
_CELLS = _names("td th caption")
REARRANGED = _names("svg math image form option optgroup ruby rb rt rtc rp marquee object applet")
"""Elements whose paths are not known."""
REARRANGED_IN = {
    **dict.fromkeys(_BLOCKS | _names("center dialog dir hgroup listing menu search summary"), (_names("p"), _CELLS)),
    **dict.fromkeys(_HEADINGS, (_HEADINGS | {"p"}, _CELLS)),
    **dict.fromkeys(_names("dd dt"), (_names("dd dt p"), _LISTS | _CELLS)),
    "li": (_names("li p"), _LISTS | _CELLS),
    **{name: (_names(name), _CELLS) for name in ("a", "nobr", "button")},
}
"""For the name of an element, the elements in which browsers do not leave it, unless one of others is between them."""

_SECTIONS = _names("thead tbody tfoot")
TABLE = _SECTIONS | _names("table tr colgroup")
"""Elements whose own text browsers move in front of the table."""
TABLE_PARENTS = {
    **dict.fromkeys(_SECTIONS | _names("caption colgroup"), _names("table")),
    **dict.fromkeys(_names("td th"), _names("tr")),
    "tr": _SECTIONS,
    "col": _names("colgroup"),
}
"""For parts of tables, their parents."""
IMPLIED_PARENT = {"tr": "tbody", "td": "tr", "th": "tr", "col": "colgroup"}
"""For parts of tables, the parent that browsers add if it is missing."""
