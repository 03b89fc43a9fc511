"""The report shows the measurements without a network, whatever text the user's fields contain."""

from __future__ import annotations

import base64
import json
import re
import shutil
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import expect, sync_playwright

from ml_backend.rendering.recommendation_text import recommend
from ml_backend.rendering.simulation_report import GREY, write_report
from ml_backend.simulation.learning_curves import Measurement
from ml_backend.simulation.run import SimulationResult
from ml_backend.simulation.summary import summarise

CHROMIUM = shutil.which("chromium")
HOSTILE = '<a href="http://evil.example/">a & b</a></script><script src="//evil.example/x.js">alert(1)</script>'
BUDGETS = (10, 20, 40)
METRICS = ("macro_f1", "accuracy", "worst_class_f1", "calibration_error", "seconds")
LINES = ("Macro-F1", "Accuracy", "The weakest class", "Calibration error", "Seconds a round")


def measured(*strategies: str, groups: tuple[str, ...] = ()) -> list[Measurement]:
    rng, measurements = np.random.default_rng(6), []
    for strategy in strategies:
        for seed in range(8):
            for n in BUDGETS:
                gain = 0.1 if n > 10 and strategy != "random" else 0.0
                for metric in METRICS:
                    measurements.append(Measurement(strategy, seed, n, metric, "", n / 100 + gain + rng.random() / 50))
                measurements += [Measurement(strategy, seed, n, "accuracy", group, rng.random()) for group in groups]
    return measurements


class Page(HTMLParser):
    """Tags with attributes, headings, cells, and the charts as arguments of Plotly, by heading."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[str] = []
        self.rows: list[list[str]] = []
        self.charts: dict[str, dict[str, Any]] = {}
        self.text = path.read_text(encoding="utf-8")
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        inside = self.tags[-1][0] if self.tags else ""
        if inside == "h2" and data.strip() and len(self.headings) == sum(tag == "h2" for tag, _ in self.tags) - 1:
            self.headings.append(data)
        elif inside in ("td", "th", "i", "small") and self.rows and data.strip():
            self.rows[-1][-1] += data if inside != "small" else f" ({data})"
        elif inside == "script" and (call := re.search(r'Plotly\.newPlot\(\s*"[^"]+",\s*', data)):
            decoder = json.JSONDecoder()
            traces, end = decoder.raw_decode(data, call.end())
            layout, _ = decoder.raw_decode(data, re.compile(r"\s*,\s*").match(data, end).end())  # type: ignore[union-attr]
            self.charts[self.headings[-1]] = {"traces": traces, "layout": layout}


def numbers(value: Any) -> list[float]:
    """The values of an array, which Plotly encodes."""
    if isinstance(value, dict):
        decoded: list[float] = np.frombuffer(base64.b64decode(value["bdata"]), value["dtype"]).tolist()
        return decoded
    return list(value)


def written(tmp_path: Path, measurements: list[Measurement], **protocol: Any) -> tuple[Page, dict[str, Any]]:
    summary = summarise(measurements, protocol)
    write_report(SimulationResult(measurements, summary), tmp_path)
    return Page(tmp_path / "report.html"), summary


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Page, dict[str, Any], list[Measurement]]:
    measurements = measured("random", "margin", "badge")
    return *written(tmp_path_factory.mktemp("plain"), measurements, seeds=[0, 1], learner="logistic"), measurements


def test_the_report_has_its_sections_and_the_verdict_on_top(plain: Any) -> None:
    page, summary, _ = plain
    assert page.headings == [
        "Macro-F1", "Accuracy", "Labels needed", "The weakest class", "Calibration error", "Seconds a round",
        "Summary", "Protocol",
    ]  # fmt: skip
    top = unescape(page.text[: page.text.index("<h2>")])
    assert all(f"<p>{line}</p>" in top for line in recommend(summary).splitlines())


def test_the_lines_are_the_means_over_the_seeds(plain: Any) -> None:
    page, _, measurements = plain
    for title, metric in zip(LINES, METRICS, strict=True):
        lines = [trace for trace in page.charts[title]["traces"] if trace["mode"] == "lines+markers"]
        assert {trace["name"] for trace in lines} == {"random", "margin", "badge"}
        for trace in lines:
            of_strategy = [
                measurement
                for measurement in measurements
                if (measurement.strategy, measurement.metric) == (trace["name"], metric)
            ]
            means = [
                np.mean([measurement.value for measurement in of_strategy if measurement.labelled == n])
                for n in BUDGETS
            ]
            assert numbers(trace["x"]) == list(BUDGETS)
            assert numbers(trace["y"]) == pytest.approx(means)


def test_the_bands_lie_around_the_lines(plain: Any) -> None:
    page, _, _ = plain
    for title in LINES:
        bands = {trace["name"]: trace for trace in page.charts[title]["traces"] if trace.get("fill") == "toself"}
        assert len(bands) == 3
        for trace in page.charts[title]["traces"]:
            if trace["mode"] == "lines+markers":
                outline = numbers(bands[trace["name"]]["y"])
                high, low = outline[:3], outline[:2:-1]
                assert all(a < b < c for a, b, c in zip(low, numbers(trace["y"]), high, strict=True))


def test_each_strategy_has_one_colour_and_random_is_grey(plain: Any) -> None:
    page, _, _ = plain
    bars = page.charts["Labels needed"]["traces"][0]
    colours = dict(zip(bars["y"], bars["marker"]["color"], strict=True))
    assert colours["random"] == GREY
    assert len(set(colours.values())) == 3
    for title in LINES:
        lines = [trace for trace in page.charts[title]["traces"] if trace["mode"] == "lines+markers"]
        assert {trace["name"]: trace["line"]["color"] for trace in lines} == colours


def test_the_bars_are_the_labels_needed(tmp_path: Path) -> None:
    slow = [
        Measurement("slow", measurement.seed, measurement.labelled, measurement.metric, "", measurement.value / 2)
        for measurement in measured("random")
    ]
    page, summary = written(tmp_path, measured("random", "margin") + slow)
    bars = page.charts["Labels needed"]["traces"][0]
    texts = dict(zip(bars["y"], bars["text"], strict=True))
    lengths = dict(zip(bars["y"], numbers(bars["x"]), strict=True))
    needs = {name: summary["strategies"][name]["labels_to_target"] for name in texts}
    assert texts == {"random": "40", "margin": f"{needs['margin']:.0f}", "slow": "not within 40"}
    assert lengths == pytest.approx({"random": 40, "margin": needs["margin"], "slow": 40})


def test_the_tables_hold_the_summary_and_the_protocol(plain: Any) -> None:
    page, summary, _ = plain
    rows = {row[0]: row for row in page.rows}
    best = max(("margin", "badge"), key=lambda name: summary["strategies"][name]["vs_random"]["naulc_gain"])
    result, against = summary["strategies"][best], summary["protocol"]["against_random"][best]
    low, high = result["vs_random"]["ci95"]
    assert [row[0] for row in page.rows[1:3]] == ["random", best]
    assert rows[best][2] == f"{100 * result['vs_random']['naulc_gain']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
    assert rows[best][3:6] == [f"{against['p_holm']:.2g}", "8, 0, 0", f"{result['labels_to_target']:.0f}"]
    assert rows[best][6].startswith(f"{against['labels_saved']:.0f} (")
    assert rows[best][8] == f"{result['final']['macro_f1']:.3f}"
    assert rows["random"][2:7] == ["", "", "", f"{summary['strategies']['random']['labels_to_target']:.0f}", ""]
    assert rows["seeds"] == ["seeds", "0, 1"]
    assert rows["learner"] == ["learner", "logistic"]
    assert rows["paired seeds"] == ["paired seeds", "8"]


def test_groups_are_shown_where_there_are_some(tmp_path: Path) -> None:
    measurements = measured("random", "margin", groups=("2019", "en"))
    page, _ = written(tmp_path, measurements)
    assert page.headings[4] == "Groups"
    chart = page.charts["Groups"]
    assert chart["layout"]["yaxis"]["type"] == "category"  # a year is a name
    for trace in chart["traces"]:
        for group, mean in zip(trace["y"], numbers(trace["x"]), strict=True):
            values = [e.value for e in measurements if (e.strategy, e.group, e.labelled) == (trace["name"], group, 40)]
            assert mean == pytest.approx(np.mean(values))


def test_nothing_of_the_user_becomes_markup_or_a_link(tmp_path: Path) -> None:
    page, _ = written(tmp_path, measured("random", HOSTILE, groups=(HOSTILE, "b")), group=HOSTILE)
    harmless, _ = written(tmp_path, measured("random", "margin", groups=("a", "b")), group="language")
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in harmless.tags]
    assert page.rows[2][0] == HOSTILE
    assert ["group", HOSTILE] in page.rows
    for title, chart in page.charts.items():  # Plotly interprets tags in its texts, too
        texts = [trace.get("name", "") for trace in chart["traces"]]
        texts += [text for trace in chart["traces"] for text in trace["y"] if isinstance(text, str)]
        texts = [text.replace("<br>", "") for text in texts]
        assert HOSTILE in map(unescape, texts), title
        assert not any("<" in text for text in texts), title


def test_the_page_fetches_nothing(tmp_path: Path) -> None:
    page, _ = written(tmp_path, measured("random", "margin", groups=("en", "de")))
    assert [(tag, attrs) for tag, attrs in page.tags if {"src", "href", "data", "srcset"} & set(attrs)] == []
    assert {tag for tag, _ in page.tags}.isdisjoint({"link", "img", "iframe", "object", "embed", "base"})
    policy = next(attrs["content"] for _, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none';")  # the browser enforces it
    assert not re.search(r"https?:|//|\*|'self'", policy)
    style = page.text[page.text.index("<style>") : page.text.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_half_a_surrogate_pair_does_not_stop_the_report(tmp_path: Path) -> None:
    page, _ = written(tmp_path, measured("random"), group="\ud83d")
    assert ["group", "?"] in page.rows


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_a_browser_draws_every_chart_and_asks_nobody_for_anything(tmp_path: Path) -> None:
    written(tmp_path, measured("random", HOSTILE, groups=("en", HOSTILE)))
    requests: list[str] = []
    troubles: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.goto((tmp_path / "report.html").as_uri())
        expect(page.locator(".main-svg")).to_have_count(7 * 3)
        drawn = {
            name: page.locator(name).count()
            for name in (".scatterlayer path.js-line", ".fills path", ".bars path", ".errorbar")
        }
        wide = page.evaluate("document.documentElement.scrollWidth")
        links = page.locator("a").count()
        browser.close()
    assert requests == [(tmp_path / "report.html").as_uri()]
    assert (troubles, wide, links) == ([], 1200, 0)
    assert drawn == {".scatterlayer path.js-line": 5 * 2, ".fills path": 5 * 2, ".bars path": 2, ".errorbar": 2 * 2}
