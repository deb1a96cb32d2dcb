"""What a reader can do with the figures on the page: save them, ask for one network or position, pass a link on."""

import csv
import re
import struct
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html import unescape

import numpy as np
import pytest

from bathymetry.charts import attrs, lines
from bathymetry.charts.figure import Figure
from bathymetry.report.page import page
from bathymetry.report.reference import reference_answers
from charts.cases import accuracies, losses
from report.browsing import until
from report.cases import figures_of_every_kind, loss_figure, report, section

LOSS = "depth-function-01-loss"
READY = "window.bathymetryReady === true"


def stored_page(folder, *sections):
    path = folder / "report.html"
    path.write_text(page(report(*sections)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A page of two studies, one of them over five widths, whose second figure has no epochs."""
    widths = losses(epochs=4, diverged=False).rename(epoch="width").assign_coords(width=[10, 20, 50, 100, 200])
    widths["width"].attrs = attrs("width", "log")
    over_widths = Figure(
        "13-width", "Loss by width", tuple(lines(widths, "width", "network")), "It falls.", "Lines.", 13
    )
    loss = Figure("01-loss", "Loss", tuple(lines(losses(), "epoch", "network")), "It ends at 0.1.", "Faint: one.", 1)
    return stored_page(
        tmp_path_factory.mktemp("reader"), section("depth-function", (loss,)), section("capacity", (over_widths,))
    )


def saved(tab, kind, figure):
    with tab.expect_download() as waiting:
        tab.locator(f"button[data-save={kind}][data-figure={figure}]").click()
    name = re.sub("^(depth-function|capacity|gradient-norm)-", "", figure)
    assert waiting.value.suggested_filename == f"figure-{name}.{kind}"  # as in the study's folder
    return waiting.value.path().read_bytes()


def table(tab, figure):
    return list(csv.DictReader(saved(tab, "csv", figure).decode().splitlines()))


def words_of(svg):
    return " ".join(element.text for element in ElementTree.fromstring(svg).iter() if element.text)


@pytest.mark.slow
def test_a_figure_is_saved_as_numbers_and_pictures_with_its_title_key_and_caption(stored, browser_visit):
    visit = browser_visit(stored)
    rows = table(visit.tab, LOSS)
    name = "Training loss"
    drawn = [row for row in rows if row["kind"] == "network" and row[name]]
    truth = losses()
    assert {(row["series"], row["network"]) for row in drawn} == {
        (str(network), str(member)) for network in truth["network"].values for member in range(10)
    }
    for row in drawn:
        expected = truth.sel(network=row["series"], member=int(row["network"]), epoch=int(row["Epoch"])).item()
        assert float(row[name]) == pytest.approx(expected, rel=1e-4)
    centres = [row for row in rows if row["kind"] == "centre"]
    assert {row["series"] for row in centres} == set(truth["network"].values)
    low, high = (f"{name}, {end} end of the interval" for end in ("lower", "upper"))
    assert all(float(row[low]) <= float(row[name]) <= float(row[high]) for row in centres if row[low])

    svg = saved(visit.tab, "svg", LOSS).decode()
    words = words_of(svg)
    for expected in (
        "Figure 1. Loss",
        *truth["network"].values,
        "95 % interval",
        "It ends at 0.1.",
        "Faint: one.",
        "Epoch",
    ):
        assert expected in words
    paper = ElementTree.fromstring(svg)[0]
    assert (paper.get("fill"), paper.get("width")) == ("#ffffff", "900")
    png = saved(visit.tab, "png", LOSS)
    assert png.startswith(b"\x89PNG")
    assert struct.unpack(">I", png[16:20])[0] == 1800
    assert visit.said == []
    assert [url for url in visit.asked_for if not url.startswith(("file:", "data:", "blob:"))] == []


@pytest.mark.slow
def test_a_dark_page_saves_on_white_and_every_kind_of_chart_can_be_saved(tmp_path, browser_visit):
    figures = figures_of_every_kind()
    visit = browser_visit(stored_page(tmp_path, section("depth-function", figures)), scheme="dark")
    for figure in figures:
        words = words_of(svg := saved(visit.tab, "svg", f"depth-function-{figure.name}").decode())
        assert figure.title in words
        assert "#131c25" not in svg
        meta = figure.sheet().panels[0].view["usermeta"]
        assert all(entry["label"] in words for entry in [*meta["key"], *meta["marks"]])
        rows = table(visit.tab, f"depth-function-{figure.name}")
        assert {row["panel"] for row in rows} == {"first", "second"}
        assert {"y", "worth", "low", "high", "member"}.isdisjoint(rows[0])
        assert "undefined" not in " ".join(rows[0])
    assert visit.said == []


@pytest.mark.slow
def test_accuracies_are_saved_and_read_off_as_shares_though_they_are_drawn_as_logits(tmp_path, browser_visit):
    truth = accuracies(epochs=4).rename(epoch="width").assign_coords(width=[10, 20, 50, 100, 669_706])
    truth["width"].attrs = attrs("width", "log")
    figure = Figure("14-width", "Accuracy", tuple(lines(truth, "width", "network")), "It rises.", "Lines.", 14)
    tab = browser_visit(stored_page(tmp_path, section("capacity", (figure,)))).tab
    rows = [row for row in table(tab, "capacity-14-width") if row["kind"] == "network"]
    assert len(rows) == truth.size
    for row in rows:
        expected = truth.sel(network=row["series"], member=int(row["network"]), width=int(row["Width"])).item()
        assert float(row["Accuracy"]) == pytest.approx(expected, abs=2e-5)
    slider = tab.locator("input[type=range]")
    slider.focus()
    tab.keyboard.press("End")
    assert "Width: 669,706" in tab.locator("output").inner_text()
    assert "no value" not in tab.locator("output").inner_text()
    tab.keyboard.press("Home")
    assert "Width: 10" in tab.locator("output").inner_text()
    at_first = truth.sel(width=10)
    logit = np.log(at_first / (1 - at_first)).mean("member")
    middle = 100 / (1 + np.exp(-logit.values))
    words = tab.locator("output").inner_text()
    for network, value in zip(truth["network"].values, middle, strict=True):
        number = float(words.partition(f"{network} ")[2].partition(" %")[0])
        assert number == pytest.approx(value, abs=0.1)


@pytest.mark.slow
def test_charts_that_share_an_axis_are_saved_with_its_numbers_each(tmp_path, browser_visit):
    values = losses(epochs=4)
    panels = [*lines(values, "epoch", "network"), *lines(values, "epoch", "network")]
    panels = [replace(panel, title=title) for panel, title in zip(panels, ("upper", "lower"), strict=True)]
    figure = Figure("09-stacked", "Two losses", tuple(panels), "It falls.", "Lines.", 9, stacked=True)
    rows = table(
        browser_visit(stored_page(tmp_path, section("gradient-norm", (figure,)))).tab, "gradient-norm-09-stacked"
    )
    for row in [row for row in rows if row["kind"] == "network" and row["Training loss"]]:
        one = values.sel(network=row["series"], member=int(row["network"]), epoch=int(row["Epoch"]))
        assert float(row["Training loss"]) == pytest.approx(one.item(), rel=1e-4)
    assert {row["panel"] for row in rows if row["Epoch"]} == {"upper", "lower"}


@pytest.mark.slow
def test_the_address_holds_all_that_a_reader_chose_and_a_link_restores_it(stored, browser_visit):
    tab = browser_visit(stored).tab
    tab.locator("button[data-log=depth-function]").click()
    tab.select_option("select[data-network=depth-function]", "2")
    tab.locator("#study-depth-function button[data-series]").first.click()
    tab.locator("input[data-slider=capacity]").focus()
    tab.keyboard.press("End")
    assert "Width: 200" in tab.locator("output").inner_text()
    assert tab.locator("input[data-slider=capacity]").get_attribute("aria-valuetext") == "Width: 200"
    tab.locator("#claim-depth-function\\.a summary").click()
    tab.locator(".filter[data-filter=undecided]").click()
    tab.locator(".filtering button").click()
    tab.locator("button.only").click()
    tab.locator("button.only").click()
    tab.locator('.rail a[href="#study-capacity"]').focus()
    tab.keyboard.press("Enter")
    until(tab, READY)
    fragment = tab.url.partition("#")[2]
    for one in (
        "log=depth-function",
        "network=depth-function:2",
        "at=capacity:4",
        "open=depth-function.a",
        "s=capacity",
        "hide=",
    ):
        assert one in fragment
    assert tab.evaluate("document.activeElement.id") == "study-capacity"

    picture = "document.querySelector('[data-chart] canvas').toDataURL()"
    other = browser_visit(stored, fragment=fragment).tab
    assert other.evaluate(picture) == tab.evaluate(picture)
    assert other.locator("button[data-log=depth-function]").get_attribute("aria-pressed") == "true"
    assert other.locator("select[data-network=depth-function]").input_value() == "2"
    assert other.locator("#study-depth-function button[data-series]").first.get_attribute("aria-pressed") == "false"
    assert other.locator("output").inner_text() == tab.locator("output").inner_text()
    assert other.evaluate("document.getElementById('claim-depth-function.a').open")
    assert other.evaluate("document.getElementById('study-capacity').getBoundingClientRect().top") < 300
    assert other.evaluate("document.querySelector('[data-chart]').getAttribute('aria-label').length") > 60
    claims = tab.locator(".claim:visible").count()
    for hostile in ("show=garbage", "open=<script>", "s=%00", "network=depth-function:99,at=capacity:1e9"):
        other.evaluate(f"history.pushState(null, '', '#{hostile}')")
        other.reload()
        until(other, READY)
        assert other.locator(".claim:visible").count() == claims > 0, hostile
    other.evaluate("history.pushState(null, '', '#show=undecided')")
    other.reload()
    until(other, READY)
    assert other.locator(".filter[data-filter=undecided]").get_attribute("aria-pressed") == "true"


@pytest.mark.slow
def test_a_filter_leaves_claims_with_their_axes_and_nothing_that_steers_what_is_hidden(stored, browser_visit):
    tab = browser_visit(stored).tab
    tab.locator(".filter[data-filter=not-tested]").first.click()
    shown = (
        "[...document.querySelectorAll('.claims .axis-name')].filter(one => one.offsetParent).map(one => one.innerText)"
    )
    assert [one.partition(",")[0] for one in tab.evaluate(shown)] == ["Share of networks"] * 2
    steering = tab.locator(".controls, .slider")
    assert steering.count() == 3
    assert not any(one.is_visible() for one in steering.all())
    tab.locator(".filtering button").click()
    assert len(tab.evaluate(shown)) == 4
    assert all(one.is_visible() for one in steering.all())


@pytest.mark.slow
def test_a_narrow_screen_has_a_button_that_clears_the_filter(stored, browser_visit):
    tab = browser_visit(stored, width=390).tab
    claims = tab.locator(".claim:visible").count()
    tab.locator(".filter[data-filter=undecided]").first.click()
    assert 0 < tab.locator(".claim:visible").count() < claims
    assert tab.locator(".filtering").inner_text().startswith("Only undecided")
    tab.locator(".filtering button").click()
    assert tab.locator(".claim:visible").count() == claims
    assert tab.locator(".filtering:visible").count() == 0


@pytest.mark.slow
def test_cards_are_as_wide_as_their_place_on_every_screen_and_on_paper(stored, browser_visit):
    tab = browser_visit(stored).tab
    widths = (
        "[...document.querySelectorAll('.thumb')].map(one => [one.clientWidth,"
        " one.firstElementChild.getBoundingClientRect().width])"
    )
    found = []
    for width in (1280, 1000, 700):
        tab.set_viewport_size({"width": width, "height": 900})
        until(tab, f"{widths}.every(([place, drawn]) => Math.abs(place - drawn) < 2)")
        found += tab.evaluate(widths)
    assert len({round(place) for place, _ in found}) == 3
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    until(tab, "document.querySelectorAll('.thumb svg').length === 2")
    tab.emulate_media(media="print")
    drawn = "[...document.querySelectorAll('.thumb')].map(one => one.scrollWidth - one.clientWidth)"
    assert tab.evaluate(drawn) == [0, 0]


@pytest.mark.slow
def test_lines_in_the_background_are_called_so_in_the_csv(tmp_path, browser_visit):
    noisy = losses().isel(member=0).drop_vars("member")
    panels = lines(losses(), "epoch", "network", behind=noisy, behind_label="last mini-batch")
    page = stored_page(
        tmp_path, section("depth-function", (Figure("01-loss", "Loss", tuple(panels), "It falls.", "", 1),))
    )
    kinds = {row["kind"] for row in table(browser_visit(page).tab, LOSS)}
    assert kinds == {"in the background", "network", "centre"}


@pytest.mark.slow
def test_further_figures_that_are_open_are_in_the_address_and_a_link_draws_them(tmp_path, browser):
    page = stored_page(tmp_path, section("depth-function", tuple(figures_of_every_kind()[:3])))
    tab = browser.new_page()
    tab.goto(page.as_uri())
    until(tab, READY)
    tab.locator("details[data-more] > summary").click()
    until(tab, "location.hash === '#more=depth-function'")
    other = browser.new_page()
    other.goto(tab.url)
    until(other, READY)
    assert other.locator("details[data-more] [data-chart] canvas").first.is_visible()
    tab.locator("details[data-more] > summary").click()
    until(tab, "location.hash === ''")
    tab.close()
    other.close()


@pytest.mark.slow
def test_a_press_on_a_line_highlights_its_network_in_every_chart_and_a_second_one_ends_it(stored, browser_visit):
    tab = browser_visit(stored).tab
    box = tab.locator("[data-chart]").first
    box.scroll_into_view_if_needed()
    at, tip = box.bounding_box(), tab.locator("#vg-tooltip-element.visible")
    across, down = at["x"] + 0.7 * at["width"], at["y"] + 60
    named = None
    while named is None and (down := down + 3) < at["y"] + at["height"]:
        tab.mouse.move(across, down)
        tab.mouse.move(across + 1, down)
        tab.wait_for_timeout(30)
        named = re.search(r"network (\d), (\S+ \S+)\s+([\d.]+)", tip.inner_text()) if tip.count() else None
    member, network, loss = named.groups()
    epoch = int(re.search(r"Epoch\s+([\d,]+)", tip.inner_text())[1].replace(",", ""))
    assert float(loss) == pytest.approx(losses().sel(network=network, member=int(member), epoch=epoch).item(), rel=0.02)

    menu = tab.locator("select[data-network=depth-function]")
    picture = "document.querySelector('[data-chart] canvas').toDataURL()"
    whole = tab.evaluate(picture)
    tab.mouse.click(across + 1, down)
    until(tab, READY)
    assert menu.input_value() == member
    assert f"network=depth-function:{member}" in tab.url
    assert tab.evaluate(picture) != whole
    tab.mouse.click(across + 1, down)
    until(tab, READY)
    assert menu.input_value() == ""


def test_a_study_without_code_offers_no_python_and_one_with_it_names_the_figure():
    own = section("capacity", (Figure("13-width", "Loss", tuple(lines(losses(), "epoch", "network")), "It.", "So."),))
    with_code = unescape(page(report(own)))
    assert 'one.name == "13-width")' in with_code
    assert '<details class="python">' not in page(report(replace(own, code="")))


@pytest.mark.slow
def test_where_the_reference_run_leads_a_study_begins_with_its_answer_and_then_says_what_this_run_used():
    own = replace(section("capacity", (loss_figure(1),)), setup="6 members and 4 epochs")
    head = page(replace(report(own), reference_leads=True)).partition('<div class="answer">')[2].partition("</div>")[0]
    first, second = re.findall("<p>(.*?)</p>", unescape(head))[:2]
    assert first == f'<span class="run">Reference run: </span>{reference_answers()["capacity"].sentence}'.replace(
        " %", "\u00a0%"
    )
    assert second == f'<span class="run">This run, 6 members and 4 epochs: </span>{own.answer}'
    assert "Reference run: </span>" not in page(report(own))


def test_the_code_of_one_study_is_shown_at_a_time(stored, browser_visit):
    tab = browser_visit(stored).tab
    assert [tab.locator(f"[data-code={one}]").is_visible() for one in ("depth-function", "capacity")] == [True, False]
    tab.locator(".code select").select_option("capacity")
    assert [tab.locator(f"[data-code={one}]").is_visible() for one in ("depth-function", "capacity")] == [False, True]


@pytest.mark.slow
def test_a_filter_fades_the_cards_of_studies_without_such_a_claim(tmp_path, browser_visit):
    whole = section("depth-function", (loss_figure(1),))
    decisions = {claim.verdict.decision for claim in whole.claims}
    few = replace(section("capacity", (loss_figure(2),)), claims=whole.claims[:1])
    tab = browser_visit(stored_page(tmp_path, whole, few)).tab
    cards = "[...document.querySelectorAll('.card')]"
    faded = f"{cards}.filter(it => getComputedStyle(it).opacity < 0.5).map(it => it.hash)"
    assert len(decisions) > 1
    for decision in decisions:
        tab.locator(f".filter[data-filter={decision.replace(' ', '-')}]").click()
        absent = decision != whole.claims[0].verdict.decision
        assert tab.evaluate(faded) == ["#study-capacity"] * absent
    tab.locator(".filtering button").click()
    assert tab.evaluate(faded) == []
