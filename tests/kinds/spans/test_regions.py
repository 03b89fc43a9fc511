"""Regions of all three tags are read as spans, whatever they contain."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from malformed_requests import any_json
from span_tasks import displayed_content, span_control
from timing import takes_linear_time

from ml_backend.core.schema import ShowCondition
from ml_backend.core.types import PARTLY_READABLE, UNREADABLE_CODES, Label, unknown_content
from ml_backend.kinds.spans.displayed import places
from ml_backend.kinds.spans.regions import MAX_REGIONS, UNREAD_REASONS, read_label, write_regions
from ml_backend.kinds.spans.schema import SpansSchema

TEXT = "  Hi 😀 é e\u0301 x\r\nשל\u05d5ם ע\u05d5לם 東京 ไทย  two\nend <b>no</b> &amp; last "
HTML = (
    "  <p>Hi 😀 <b>bo<i>l</i>d</b> &amp; e\u0301</p>\n<!-- c -->x<br>y"
    "<table><tr><td>cell 1</td><td>ไทย</td></tr></table><script>no()</script><style>p{}</style>tail  two\r\nend "
)
DIALOGUE = [{"author": "Ann", "text": "  Hi 😀 there\r\n  you"}, {"author": "Bob", "text": "東京 e\u0301 <b>x</b>"}]
LABELS = span_control("Labels")
HYPERTEXT = span_control("HyperTextLabels")
PARAGRAPHS = span_control("ParagraphLabels")
CONTROLS = {"Labels": (LABELS, TEXT), "HyperTextLabels": (HYPERTEXT, HTML), "ParagraphLabels": (PARAGRAPHS, DIALOGUE)}
all_tags = pytest.mark.parametrize(("control", "displayed"), CONTROLS.values(), ids=CONTROLS)


def region(control: SpansSchema, labels: Any = ("A",), **place: Any) -> dict[str, Any]:
    key = control.tag.lower()
    value = {**place, key: list(labels) if isinstance(labels, tuple) else labels}
    return {"from_name": control.name, "to_name": control.source, "type": key, "id": "r", "value": value}


def marked(control: SpansSchema, displayed: Any, *regions: dict[str, Any]) -> list[str]:
    """The marked characters of the spans that are read."""
    content = displayed_content(displayed)
    read = read_label(regions, control, content)
    texts = {"Text": TEXT, "HyperText": "Hi 😀 bold & e\u0301 x y cell 1 ไทย tail two end"}
    text = texts.get(
        control.object_tag.tag if control.object_tag else "", "Ann: Hi 😀 there you\nBob: 東京 e\u0301 <b>x</b>"
    )
    return [text[start:end] for start, end, _ in read.value]


@pytest.mark.parametrize(
    ("place", "characters"),
    [
        ({"start": 2, "end": 6, "text": "Hi 😀"}, "Hi 😀"),
        ({"start": 5, "end": 8, "text": "😀 é"}, "😀 é"),
        ({"start": 2, "end": 18, "text": "Hi 😀 é e\u0301 x\\n\\nשל\u05d5"}, "Hi 😀 é e\u0301 x\r\nשל\u05d5"),
        ({"start": 2, "end": 6}, "Hi 😀"),
        ({"start": 31 + 3, "end": 31 + 3 + 10, "text": TEXT[34:44]}, TEXT[34:44]),
    ],
)
def test_a_region_of_a_text_is_read_as_label_studio_has_written_it(place: dict[str, Any], characters: str) -> None:
    assert marked(LABELS, TEXT, region(LABELS, **place)) == [characters]


@pytest.mark.parametrize(
    ("place", "characters"),
    [  # as recorded in a browser
        (("/p[1]/text()[1]", 0, "/p[1]/text()[1]", 6, 0, 5, "Hi 😀 "), "Hi 😀 "),
        (("/p[1]/text()[1]", 5, "/p[1]/b[1]/text()[2]", 1, 4, 9, " bold"), " bold"),
        (("/p[1]/b[1]/i[1]/text()[1]", 0, "/p[1]/text()[2]", 5, 7, 14, "ld & e\u0301"), "ld & e\u0301"),
        (
            ("/p[1]/text()[2]", 4, "/table[1]/tbody[1]/tr[1]/td[1]/text()[1]", 3, 13, 21, "x\\ny\\ncel"),
            "\u0301 x y cel",
        ),
        (("/table[1]/tbody[1]/tr[1]/td[1]/text()[1]", 2, "/text()[3]", 2, 20, 32, "ll 1\tไทย\\nta"), "ll 1 ไทย ta"),
    ],
)
def test_a_region_of_html_is_read_as_label_studio_has_written_it(place: tuple[Any, ...], characters: str) -> None:
    start, start_offset, end, end_offset, first, last, text = place
    paths = {"start": start, "end": end, "startOffset": start_offset, "endOffset": end_offset}
    both = {**paths, "globalOffsets": {"start": first, "end": last}}
    for written in (both, paths, {"globalOffsets": {"start": first, "end": last}}):
        assert marked(HYPERTEXT, HTML, region(HYPERTEXT, **written)) == [characters]
    assert [*map(str.strip, marked(HYPERTEXT, HTML, region(HYPERTEXT, **both, text=text)))] in (
        [characters.strip()], [text.replace("\\n", " ")]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("place", "characters"),
    [  # as recorded in a browser; the last three after drafts were submitted
        (("0", 2, "0", 7, "Hi 😀"), "Hi 😀"),
        (("0", 3, "1", 2, "i 😀 there you\n00:00:00 - 00:00:00\n東京"), "i 😀 there you\nBob: 東京"),
        (("1", 0, "1", 5, "東京 e\u0301"), "東京 e\u0301"),
        (("0", 2, "0", 7, " 😀 t"), "Hi 😀"),
        (("0", 8, "0", 13, "ere y"), "there"),
        (("0", 3, "1", 2, "😀 there you東京"), "i 😀 there you\nBob: 東京"),
    ],
)
def test_a_region_of_a_dialogue_is_read_as_label_studio_has_written_it(place: tuple[Any, ...], characters: str) -> None:
    start, start_offset, end, end_offset, text = place
    written = {"start": start, "end": end, "startOffset": start_offset, "endOffset": end_offset}
    assert marked(PARAGRAPHS, DIALOGUE, region(PARAGRAPHS, **written)) == [characters]
    assert marked(PARAGRAPHS, DIALOGUE, region(PARAGRAPHS, **written, text=text)) == [characters]
    numbers = {**written, "start": int(start), "end": int(end)}
    assert marked(PARAGRAPHS, DIALOGUE, region(PARAGRAPHS, **numbers, text=text)) == [characters]


def test_offsets_in_utf16_units_and_in_code_points_are_recognised() -> None:
    assert marked(LABELS, TEXT, region(LABELS, start=5, end=9, text="😀 é")) == ["😀 é"]
    assert marked(LABELS, TEXT, region(LABELS, start=20, end=25, text="של\u05d5ם")) == ["של\u05d5ם"]
    in_code_points = region(PARAGRAPHS, start="0", end="0", startOffset=7, endOffset=12, text="there")
    assert marked(PARAGRAPHS, DIALOGUE, in_code_points) == ["there"]


@pytest.mark.parametrize(
    ("start", "end", "text", "characters"),
    [
        (7, 2, "Bob", ["Bob"]),
        ("0", "3", "Bob", ["Bob"]),
        (0.0, 3.0, "Bob", ["Bob"]),
        (500, 503, "Bob", ["Bob"]),
        (30, 33, "Bob", ["Bob"]),
        (0, 3, "Bob met", ["Bob  met"]),
        (0, 4, "Rob", []),
        (0, 500, None, []),
        (3, 3, None, []),
        (-3, 3, "Bob", []),
        (None, None, "Bob", []),
        ("a", "b", "Bob", []),
        (True, 3, "Bob", []),
        (10**30, 10**31, "Bob", []),
        ("9" * 40, "9" * 41, "Bob", []),
        (float("nan"), float("inf"), "Bob", []),
        ([], {}, ["Bob"], []),
    ],
)
def test_the_nearest_occurrence_of_the_marked_text_counts(
    start: Any, end: Any, text: Any, characters: list[str]
) -> None:
    displayed = "Bob  met Alice. Then Bob left."
    read = read_label([region(LABELS, start=start, end=end, text=text)], LABELS, displayed_content(displayed))
    assert [displayed[first:last] for first, last, _ in read.value] == characters
    assert read.unread == ("" if characters else "offsets")


def test_of_several_occurrences_the_nearest_one_counts() -> None:
    displayed = "Bob met Bob and Bob"
    for start, nearest in ((0, 0), (3, 0), (5, 8), (11, 8), (14, 16), (90, 16)):
        read = read_label(
            [region(LABELS, start=start, end=start + 1, text="Bob")], LABELS, displayed_content(displayed)
        )
        assert read.value == ((nearest, nearest + 3, "A"),)


def test_a_region_of_html_that_has_changed_is_found_by_its_text() -> None:
    old = region(HYPERTEXT, start="/p[9]/text()[1]", end="/p[9]/text()[1]", startOffset=0, endOffset=4,
                 globalOffsets={"start": 90, "end": 94}, text="cell")  # fmt: skip
    assert marked(HYPERTEXT, HTML, old) == ["cell"]
    stray = displayed_content("<table>stray<tr><td>cell</td></tr></table>")
    assert read_label([old], HYPERTEXT, stray).value == ((6, 10, "A"),), "no character has a known position there"
    unknown = {**old, "value": {**old["value"], "text": "gone"}}
    assert read_label([unknown], HYPERTEXT, displayed_content(HTML)) == Label((), "offsets")


def test_empty_paths_lead_nowhere() -> None:
    html = "<p><span><div>moved</div>there</span> and <i>here</i></p> end"
    (written,) = write_regions(((0, 5, "A"),), HYPERTEXT, displayed_content(html))
    assert (written["value"]["start"], written["value"]["globalOffsets"]) == ("", {"start": 0, "end": 5})
    place = {name: item for name, item in written["value"].items() if name not in ("globalOffsets", "text")}
    assert read_label([{**written, "value": place}], HYPERTEXT, displayed_content(html)).unread == "offsets"


@all_tags
def test_a_region_that_cannot_be_read_does_not_spoil_the_others(control: SpansSchema, displayed: Any) -> None:
    content = displayed_content(displayed)
    (good,) = write_regions(((6, 8, "A"),), control, content)
    value = good["value"]
    removed = {**good, "value": {**value, control.tag.lower(): ["removed"]}}
    bad = {
        "label": removed,
        "no label": {**good, "value": {**value, control.tag.lower(): []}},
        "shape": {**good, "value": {**value, control.tag.lower(): "A"}},
        "offsets": {**good, "value": {control.tag.lower(): ["A"], "start": "x"}},
    }
    for code, bad_region in bad.items():
        assert read_label([bad_region], control, content).unread == code
        others = ((6, 8, "removed"),) if code == "label" else ()
        partly = PARTLY_READABLE if code == "label" else f"{PARTLY_READABLE} {code}"
        assert read_label([bad_region, good], control, content) == Label(((6, 8, "A"), *others), partly)
    assert read_label([{**good, "value": None}], control, content) == Label((), "shape")
    assert read_label([{"type": good["type"]}], control, content) == Label((), "shape")
    assert read_label([removed], control, content).value == ((6, 8, "removed"),), "messages can name the label"
    without = {**good, "value": {name: item for name, item in value.items() if name != control.tag.lower()}}
    assert read_label([without], control, content) == Label((), "no label")


@all_tags
def test_regions_of_other_types_are_ignored_but_are_no_empty_annotation(control: SpansSchema, displayed: Any) -> None:
    content = displayed_content(displayed)
    (good,) = write_regions(((6, 8, "A"),), control, content)
    others: list[dict[str, Any]] = [
        {"type": "relation", "from_id": "r", "to_id": "s"},
        {"type": "choices", "value": {"choices": ["A"], "start": 0, "end": 2}},
        {"type": "textarea", "value": {"text": ["A"]}},
    ]
    assert read_label([*others, good], control, content) == Label(((6, 8, "A"),))
    assert read_label(others, control, content) == Label((), "shape")


@all_tags
def test_no_region_says_that_nothing_is_marked_unless_the_control_may_be_hidden(
    control: SpansSchema, displayed: Any
) -> None:
    content = displayed_content(displayed)
    assert read_label([], control, content) == Label(())
    assert read_label([], replace(control, conditional=True), content) == Label((), "empty")
    hidden = replace(control, shown_if=(ShowCondition("choice-selected"),))
    assert read_label([], hidden, content) == Label((), "empty")
    for without_text in (displayed_content(None), displayed_content(""), displayed_content([]), unknown_content(1)):
        assert read_label([], control, without_text) == Label((), "no text")
        assert write_regions(((0, 1, "A"),), control, without_text) == []


def test_stored_values_and_labels_are_read() -> None:
    control = replace(LABELS, stored=("a", "b"))
    content = displayed_content("Bob met Alice")
    read = read_label([region(control, ("a", "B", 7), start=0, end=3)], control, content)
    assert read == Label(((0, 3, "7"), (0, 3, "A"), (0, 3, "B")), PARTLY_READABLE)
    assert write_regions(((0, 3, "A"),), control, content)[0]["value"]["labels"] == ["a"]


def test_at_most_so_many_regions_are_read() -> None:
    content = displayed_content("x" * (MAX_REGIONS + 5))
    regions = [region(LABELS, start=n, end=n + 1) for n in range(MAX_REGIONS + 5)]
    read = read_label(regions, LABELS, content)
    assert (len(read.value), read.unread) == (MAX_REGIONS, f"{PARTLY_READABLE} many regions")
    assert read_label(regions[:MAX_REGIONS], LABELS, content).unread == ""


@given(
    st.sampled_from([*CONTROLS]),
    any_json,
    st.lists(
        any_json.filter(lambda value: isinstance(value, dict))
        | st.dictionaries(
            st.sampled_from(
                ["start", "end", "startOffset", "endOffset", "globalOffsets", "text", "labels", "hypertextlabels",
                 "paragraphlabels"]
            ),
            any_json | st.integers(0, 9) | st.lists(st.sampled_from(["A", "removed"])),
        ).map(lambda value: {"value": value}),
        max_size=3,
    ),
)  # fmt: skip
def test_nothing_is_raised(tag: str, displayed: Any, regions: list[dict[str, Any]]) -> None:
    control, _ = CONTROLS[tag]
    typed = [{"type": tag.lower(), **value} for value in regions]
    for value in (displayed, CONTROLS[tag][1]):
        read = read_label(typed, control, displayed_content(value))
        assert read.unread in ("", PARTLY_READABLE, *UNREADABLE_CODES, *UNREAD_REASONS)


@pytest.mark.parametrize("tag", [*CONTROLS])
def test_the_time_to_write_and_read_spans_is_proportional_to_their_number(tag: str) -> None:
    displayed: dict[str, Any] = {
        "Labels": ("Hi 😀 there é  ไทย\r\n" * 2000)[:20_000],
        "HyperTextLabels": ("<p>Hi 😀 <b>th<i>er</i>e</b> &amp; é ไทย</p>\n<ul><li>x y</ul><br>" * 4000)[:200_000],
        "ParagraphLabels": [{"author": "Ann", "text": "  Hi 😀 there\r\n  you é" * 3}] * 300,
    }
    control, content = CONTROLS[tag][0], displayed_content(displayed[tag])
    shown = places(content, control)
    single = [(n, n + 1, "A") for n, character in enumerate(shown.text) if character != " " and shown.place(n, n + 1)]
    spans = tuple(single[:: len(single) // 1000][:1000])

    def write_and_read(number: int) -> None:
        regions = write_regions(spans[:number], control, content)
        assert len(regions) == number and read_label(regions, control, content) == Label(spans[:number])

    assert takes_linear_time(write_and_read, 1000)
