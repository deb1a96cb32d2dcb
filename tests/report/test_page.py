"""The page in a browser, as a reader has it: from a file, without a network, on two widths, by day and by night."""

import re
import socket
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from bathymetry.claims.judging import Judged
from bathymetry.report.page import page
from bathymetry.stats import Verdict
from report.browsing import until
from report.cases import HOSTILE, figures_of_every_kind, hostile_report, loss_figure, part, report, section

MOST_BYTES = 6_000_000


@pytest.fixture(scope="module")
def html():
    return page(report())


@pytest.fixture(scope="module")
def stored(html, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(html, encoding="utf-8")
    return path


@pytest.fixture
def visit(browser_visit):
    return browser_visit


def drawn_sizes(tab):
    return tab.eval_on_selector_all(
        "[data-chart]",
        "boxes => boxes.map(box => { const it = box.querySelector('canvas, svg'); "
        "const at = it && it.getBoundingClientRect(); return at ? [at.width, at.height] : [0, 0]; })",
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_chart_is_drawn_within_the_page_and_nothing_is_fetched_or_complained_of(stored, visit, width, scheme):
    seen = visit(stored, width, scheme)
    assert seen.said == []
    assert [url for url in seen.asked_for if url != stored.as_uri() and not url.startswith("data:")] == []
    sizes = drawn_sizes(seen.tab)
    assert len(sizes) == 7
    assert all(across > 150 and down > 150 for across, down in sizes)
    assert seen.tab.evaluate("document.documentElement.scrollWidth") <= width
    outside = seen.tab.evaluate(
        "[...document.querySelectorAll('main *')].filter(it => !it.closest('pre, .visually-hidden, thead, dl')"
        " && it.getBoundingClientRect().right > innerWidth + 1).map(it => it.outerHTML.slice(0, 80))"
    )
    assert outside == []
    assert seen.tab.locator(".waiting").count() == 0


def coloured_pixels(tab):
    """Count each chart's pixels that are neither paper nor words, which are grey or nearly: what its marks left."""
    return tab.evaluate(
        "[...document.querySelectorAll('[data-chart]')].map(box => { const c = box.querySelector('canvas');"
        " if (!c) return 0; const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let n = 0;"
        " for (let i = 0; i < d.length; i += 4)"
        " if (Math.max(d[i], d[i+1], d[i+2]) - Math.min(d[i], d[i+1], d[i+2]) > 40) n++; return n; })"
    )


def test_two_panels_of_every_kind_of_chart_are_drawn_without_a_word_of_complaint(tmp_path, visit):
    path = tmp_path / "report.html"
    path.write_text(page(report(section("depth-function", figures_of_every_kind()))), encoding="utf-8")
    for scheme in ("light", "dark"):
        seen = visit(path, scheme=scheme)
        assert seen.said == []
        drawn = coloured_pixels(seen.tab)
        assert len(drawn) == 10
        assert all(count > 200 for count in drawn), drawn


def heard(tab):
    """Give the names of all images in the browser's accessibility tree, which is what a screen reader reads."""
    tree = tab.context.new_cdp_session(tab).send("Accessibility.getFullAXTree")["nodes"]
    shown = [node for node in tree if not node["ignored"] and node["role"]["value"] in ("image", "img")]
    return [node["name"]["value"].replace("\u00a0", " ") for node in shown]


def test_every_kind_of_chart_is_described_to_a_screen_reader_after_it_is_drawn(tmp_path, visit):
    figures = figures_of_every_kind()
    path = tmp_path / "report.html"
    path.write_text(page(report(section("depth-function", figures))), encoding="utf-8")
    words = [panel.description for figure in figures for panel in figure.panels]
    assert all(len(one) > 60 for one in words)
    tab = visit(path).tab
    assert tab.locator("[data-chart] canvas").count() == len(words)
    assert heard(tab) == words
    tab.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    until(tab, f"document.querySelectorAll('[data-chart] svg').length === {len(words)}")
    assert heard(tab) == words
    tab.evaluate("window.bathymetryReady = false; window.dispatchEvent(new Event('afterprint'))")
    until(tab, "window.bathymetryReady === true")
    assert heard(tab) == words


def ink(tab):
    """Count the pixels of the first chart's canvas by their brightness."""
    return tab.evaluate(
        "() => { const c = document.querySelector('[data-chart] canvas'); const d = c.getContext('2d')"
        ".getImageData(0, 0, c.width, c.height).data; let dark = 0, light = 0;"
        " for (let i = 0; i < d.length; i += 4) { const l = (d[i] + d[i+1] + d[i+2]) / 3;"
        " if (l < 60) dark++; if (l > 200) light++; } return [dark, light]; }"
    )


def test_charts_follow_the_screen_from_light_to_dark(stored, visit):
    seen = visit(stored)
    dark, light = ink(seen.tab)
    assert light > 10 * dark
    seen.tab.evaluate("window.bathymetryReady = false")
    seen.tab.emulate_media(color_scheme="dark")
    until(seen.tab, "window.bathymetryReady === true")
    dark, light = ink(seen.tab)
    assert dark > 10 * light
    assert seen.said == []


def test_a_name_in_the_key_hides_its_lines_and_shows_them_again_from_the_keyboard(stored, visit):
    tab = visit(stored).tab
    before = ink(tab)
    picture = "document.querySelector('[data-chart] canvas').toDataURL()"
    whole = tab.evaluate(picture)
    button = tab.locator("button[data-series]").first
    button.focus()
    tab.keyboard.press("Enter")
    assert button.get_attribute("aria-pressed") == "false"
    until(tab, f"whole => {picture} !== whole", arg=whole)
    assert ink(tab) != before
    tab.keyboard.press("Enter")
    until(tab, f"whole => {picture} === whole", arg=whole)


def test_pointing_at_a_chart_tells_the_numbers_of_every_network(stored, visit):
    tab = visit(stored).tab
    box = tab.locator("[data-chart]").first
    box.scroll_into_view_if_needed()
    at = box.bounding_box()
    tab.mouse.move(at["x"] + at["width"] * 0.6, at["y"] + at["height"] * 0.4)
    tab.mouse.move(at["x"] + at["width"] * 0.6 + 2, at["y"] + at["height"] * 0.4)
    tip = tab.locator("#vg-tooltip-element.visible")
    tip.wait_for()
    words = tip.inner_text()
    assert all(name in words for name in ("Epoch", "shallow 1-250-1", "middle 1-32-16-9-1", "deep 1-24-16-10-8-4-1"))
    assert " to " in words


def test_the_wheel_scrolls_the_page_and_zooms_only_with_ctrl(stored, visit):
    tab = visit(stored).tab
    box = tab.locator("[data-chart]").first
    box.scroll_into_view_if_needed()
    at = box.bounding_box()
    tab.mouse.move(at["x"] + at["width"] / 2, at["y"] + at["height"] / 2)
    top = tab.evaluate("scrollY")
    tab.mouse.wheel(0, 120)
    until(tab, "top => scrollY > top", arg=top)

    at = box.bounding_box()
    picture = "document.querySelector('[data-chart] canvas').toDataURL()"
    tab.mouse.move(5, 5)
    tab.wait_for_timeout(200)
    whole, top = tab.evaluate(picture), tab.evaluate("scrollY")
    tab.mouse.move(at["x"] + at["width"] / 2, at["y"] + at["height"] / 2)
    tab.keyboard.down("Control")
    tab.mouse.wheel(0, -240)
    tab.keyboard.up("Control")
    tab.mouse.move(5, 5)
    tab.wait_for_timeout(200)
    assert tab.evaluate(picture) != whole
    assert tab.evaluate("scrollY") == top
    tab.mouse.dblclick(at["x"] + at["width"] / 2, at["y"] + at["height"] / 2)
    tab.mouse.move(5, 5)
    until(tab, f"whole => {picture} === whole", arg=whole)


def test_on_paper_charts_are_lines_on_white_whatever_the_screen(stored, visit):
    seen = visit(stored, scheme="dark")
    tab = seen.tab
    tab.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    until(tab, "document.querySelectorAll('[data-chart] svg').length === 7")
    assert tab.locator("[data-chart] svg").first.inner_html().count("#131c25") == 0
    assert tab.evaluate("[...document.querySelectorAll('details.claim')].every(it => it.open)")
    tab.evaluate("window.bathymetryReady = false; window.dispatchEvent(new Event('afterprint'))")
    until(tab, "window.bathymetryReady === true")
    assert tab.locator("[data-chart] canvas").count() == 7
    assert len(tab.pdf(format="A4")) > 50_000
    assert seen.said == []


def test_hostile_words_stay_words(tmp_path, visit):
    path = tmp_path / "report.html"
    path.write_text(page(hostile_report()), encoding="utf-8")
    seen = visit(path)
    assert seen.tab.evaluate("window.attacked") is None
    assert seen.said == []
    assert seen.tab.locator("h1").inner_text() == HOSTILE
    assert all(across > 150 for across, _ in drawn_sizes(seen.tab))
    box = seen.tab.locator("[data-chart]").first
    box.scroll_into_view_if_needed()
    at = box.bounding_box()
    seen.tab.mouse.move(at["x"] + at["width"] * 0.5, at["y"] + at["height"] * 0.5)
    seen.tab.mouse.move(at["x"] + at["width"] * 0.5 + 2, at["y"] + at["height"] * 0.5)
    seen.tab.locator("#vg-tooltip-element.visible").wait_for()
    assert seen.tab.evaluate("window.attacked") is None


def test_markup_that_slipped_into_the_page_could_neither_run_nor_fetch(tmp_path, html, visit):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        slipped = (
            "<script>window.attacked = 1</script><img src=x onerror='window.attacked = 2'>"
            f"<img src='http://127.0.0.1:{listener.getsockname()[1]}/pixel'><svg onload='window.attacked = 3'></svg>"
            "<iframe srcdoc='<script>parent.attacked = 4</script>'></iframe>"
            "<a id='trap' href='javascript:attacked = 5'>x</a>"
        )
        path = tmp_path / "report.html"
        path.write_text(html.replace('<div class="layout"', slipped + '<div class="layout"', 1), encoding="utf-8")
        seen = visit(path)
        seen.tab.evaluate("document.getElementById('trap').click()")
        seen.tab.wait_for_timeout(100)
        assert seen.tab.evaluate("window.attacked") is None
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert all(across > 150 for across, _ in drawn_sizes(seen.tab))


def test_the_policy_allows_no_network_no_strings_as_programs_and_no_style_by_attribute(html):
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)[1]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert html.index("Content-Security-Policy") < html.index("<title>")
    assert " style=" not in re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)


@pytest.mark.slow
def test_thirty_figures_fit_in_six_megabytes_and_are_all_drawn(tmp_path, visit):
    figures = [loss_figure(number, seed=number) for number in range(1, 31)]
    whole = page(report(*(section(f"study-{at}", tuple(figures[at : at + 6])) for at in range(0, 30, 6))))
    path = tmp_path / "report.html"
    path.write_text(whole, encoding="utf-8")
    assert path.stat().st_size <= MOST_BYTES
    seen = visit(path)
    assert len(drawn_sizes(seen.tab)) == 30
    assert all(across > 150 for across, _ in drawn_sizes(seen.tab))


def test_a_figure_takes_a_thirtieth_of_the_room(html):
    one = page(report(section("depth-function", (loss_figure(1),))))
    two = page(report(section("depth-function", (loss_figure(1), loss_figure(2, seed=1)))))
    assert len(one.encode()) + 29 * (len(two.encode()) - len(one.encode())) < MOST_BYTES


class Outline(HTMLParser):
    """Collects what a screen reader goes by."""

    def __init__(self) -> None:
        super().__init__()
        self.headings: list[int] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if found.get("id"):
            self.ids.append(str(found["id"]))
        if tag == "a":
            self.targets.append(str(found["href"]))
        if found.get("role") == "img":
            self.images.append(found)
        self.addresses += [str(found[name]) for name in ("src", "href") if name in found and tag != "a"]


@pytest.fixture(scope="module")
def outline(html):
    parser = Outline()
    parser.feed(html)
    return parser


def test_headings_descend_one_step_at_a_time_from_one_title(outline):
    assert outline.headings.count(1) == 1
    assert all(deeper - above <= 1 for above, deeper in zip(outline.headings, outline.headings[1:], strict=False))


def test_every_link_leads_somewhere_on_the_page(outline):
    assert len(outline.ids) == len(set(outline.ids))
    assert {target for target in outline.targets if target.startswith("#")} <= {f"#{name}" for name in outline.ids}
    assert all(target.startswith("#") for target in outline.targets)


def test_every_chart_has_its_words(outline):
    assert len(outline.images) == 7
    assert all(len(str(image["aria-label"])) > 60 for image in outline.images)


def test_nothing_but_the_page_itself_is_named_as_a_source(outline):
    assert all(address.startswith(("data:", "#glyph-")) for address in outline.addresses)


def test_findings_and_verdicts_come_before_the_studies_and_the_provenance_last(html):
    text = html[html.index("<main") :]
    order = ['class="tally"', 'class="cards"', "Do deep networks fit better?", 'id="study-depth-function"']
    order += ["Figure 1</b> How fast", "Finding of figure 1.", "all networks converge", "1 of 10 shallow ones fit."]
    order += ["What it measures", "Settings</h3>", "Glossary", "bathymetry run all ", "The same in Python"]
    places = [text.index(words) for words in order]
    assert places == sorted(places)


def test_a_page_of_one_study_shows_its_question_once():
    one = report(section("depth-function", (loss_figure(1),)))
    question = r'<h2 id="question-depth-function"( class="visually-hidden")?>'
    assert re.search(question, page(replace(one, title=one.studies[0].question)))[1]
    assert not re.search(question, page(one))[1]


def test_a_correction_that_changes_nothing_is_not_said_to_have_lost_none(html):
    kept = tuple(replace(claim, p_holm=None) for claim in report().studies[0].claims)
    words = page(report(replace(section("depth-function", (loss_figure(1),)), claims=kept)))
    assert "It changes no verdict." in words
    assert "no longer significant after it" in html


def test_claims_that_could_not_be_tested_say_why_and_show_the_reference_run(html):
    row = html[html.index("all converge at about 250 epochs") :]
    row = row[: row.index("</details>")]
    assert "not tested" in row
    assert "other data or schedule" in row
    assert row.count("he claim needs MNIST; this run used strokes.") == 1
    assert "<b>Reference run.</b> In that run 10 of 10 fit." in row


def test_the_reason_of_a_finding_is_not_repeated():
    unjudged = Verdict("majority", "not tested", (), 0, None, "those networks were not run")
    row = Judged("depth-function.c", "Deep is faster.", "Epochs to fit.", unjudged, "Those networks were not run.")
    told = page(replace(report(), studies=(replace(section("depth-function", (loss_figure(1),)), claims=(row,)),)))
    assert told[told.index('class="opened"') :].count("hose networks were not run") == 1


def test_chance_and_adjustment_are_spoken_of(html):
    assert "one part in twenty is decided by chance alone" in html
    assert "4 claims on this page have a p" in html
    assert 'p&nbsp;0.040, <a href="#term-holm">Holm</a>-adjusted 0.080' in html


def test_a_verdict_that_chance_could_do_among_so_many_is_said_to_be_one(html):
    row = html[html.index("all networks converge</span>") :]
    row = row[: row.index("</details>")]
    assert "Contradicted at 5\u00a0%; not significant after Holm correction." in row
    assert "2 of them are no longer significant after it." in html


def test_the_rule_of_a_claim_is_shown_once_as_sentences():
    below = part("supported", -0.8, (-0.9, -0.6), 0.001, "−0.8")
    rule = "a slope. Supported if it lies below zero."
    verdict = Verdict("median_sign", "supported", (below,), 10, 0.001)
    row = Judged("x.b", "It falls.", rule, verdict, "It falls.", 0.001)
    shown = page(replace(report(), studies=(replace(section("x", (loss_figure(1),)), claims=(row,)),)))
    assert shown.count("A slope. Supported if it lies below zero.") == 1


def test_words_that_hold_for_every_claim_are_written_once(html):
    assert html.count("divided by the number of parts") == 1
    assert html.count("a two-sided test at 5") <= 1


def test_no_line_breaks_within_a_p_or_before_a_per_cent_sign():
    finding = "All 100 % (p < 0.01, p = 1)."
    row = Judged("x.a", "It is.", "a share", Verdict("majority", "supported", (), 6, 0.03), finding)
    told = page(replace(report(), studies=(replace(section("x", (loss_figure(1),)), claims=(row,)),)))
    assert "All 100\u00a0% (p\u00a0&lt;\u00a00.01, p\u00a0=\u00a01)." in told


def test_code_can_be_copied_as_it_was_written(html):
    assert "assert 7 % 4 == 3 and 1 &lt; 2" in html


def test_the_same_report_gives_the_same_page(html):
    assert page(report()) == html
