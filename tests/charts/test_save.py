import re
import struct
import xml.etree.ElementTree as ElementTree
import zlib

import numpy as np
import pytest
import vl_convert

from bathymetry.charts import Figure, attrs, lines, predictions, save
from bathymetry.charts.figure import Figures, Panel
from bathymetry.charts.sheet import draw_svg
from charts.cases import losses
from charts.cases import predictions as prediction_cases
from report.cases import figures_of_every_kind


def pixels(png: bytes) -> np.ndarray:
    """Read the bytes of an RGBA PNG's image, unfiltered by its rows' filters: enough to see whether all are alike."""
    width, height = struct.unpack(">II", png[16:24])
    body, at = b"", 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        if png[at + 4 : at + 8] == b"IDAT":
            body += png[at + 8 : at + 8 + length]
        at += length + 12
    return np.frombuffer(zlib.decompress(body), dtype=np.uint8).reshape(height, -1)[:, 1:], width


SVG = "{http://www.w3.org/2000/svg}"


def text_of(element) -> str:
    return "".join(element.itertext())


def is_sample(group) -> bool:
    """Whether a group is the sample of a key's entry: a few shapes and an opacity of its own."""
    return group.get("opacity") is not None and (group.get("transform") or "").startswith("translate(")


def part(svg, left, top, width, height) -> bytes:
    """Draw a rectangle of a stored figure."""
    root = ElementTree.fromstring(svg)
    root.attrib.update(viewBox=f"{left} {top} {width} {height}", width=str(width), height=str(height))
    return vl_convert.svg_to_png(ElementTree.tostring(root, encoding="unicode"))


def blank(left, top, width, height) -> bytes:
    size = f'width="{width}" height="{height}"'
    return vl_convert.svg_to_png(f'<svg xmlns="{SVG[1:-1]}" {size}><rect {size} fill="#fff"/></svg>')


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    learned, truth = prediction_cases()
    panels = predictions(learned.assign_coords(network=[f"network {k}" for k in range(3)]), truth, facet="network")
    figure = Figure("04-prediction-cos", "What did each network make of cos(x)?", tuple(panels), "", "", 4)
    return save(figure, tmp_path_factory.mktemp("figures"))


def test_files_are_named_by_the_figure(stored):
    assert [path.name for path in stored] == ["figure-04-prediction-cos.svg", "figure-04-prediction-cos.png"]


def test_the_png_is_not_blank(stored):
    image, width = pixels(stored[1].read_bytes())
    assert width > 1000
    rows_with_ink = (np.abs(image.astype(int) - 255) > 0).any(axis=1) & (image.std(axis=1) > 0)
    assert rows_with_ink.mean() > 0.3


def test_the_svg_holds_the_title_and_all_panels(stored):
    words = "".join(ElementTree.fromstring(stored[0].read_text()).itertext())
    assert "Figure 4. What did each network make of cos(x)?" in words
    assert all(f"network {place}" in words for place in range(3))


def test_panels_that_share_an_axis_stand_above_each_other_under_both_of_their_numbers():
    panels = [*lines(losses(), "epoch", "network", title="one"), *lines(losses(), "epoch", "network", title="two")]
    sheet = Figure("09-loss", "Loss", panels, "", "", (9, 10), stacked=True).sheet()
    root = ElementTree.fromstring(draw_svg(sheet))
    assert "Figures 9 and 10. Loss" in "".join(root.itertext())
    first, second = root.findall(f".//{SVG}svg")
    assert first.get("x") == second.get("x") == "0"
    assert float(second.get("y")) > float(first.get("y")) + float(first.get("height"))


def test_an_svg_draws_every_member(tmp_path):
    panels = lines(losses(members=7, diverged=False), "epoch", "network")
    figure = Figure("01-loss", "Loss", tuple(panels), "", "")
    root = ElementTree.fromstring(save(figure, tmp_path)[0].read_text())
    faint = [path for path in root.iter("{http://www.w3.org/2000/svg}path") if path.get("stroke-opacity") == "0.3"]
    assert len(faint) == 21


@pytest.fixture(scope="module")
def every_kind(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kinds")
    return {figure.name.removeprefix("kind-"): (figure, save(figure, folder)) for figure in figures_of_every_kind()}


KEYS = {
    "lines": ["training", "test", "behind", "one of 6 members", "mean with 95 % interval"],
    "dots": ["one member", "mean with 95 % interval", "bound"],
    "paths": ["start", "end", "loss"],
    "predictions": [
        "median of members", "true function", "one of 10 members", "95 % interval of the median",
        "outside the training inputs",
    ],
    "scatter": ["ReLU", "tanh"],
}  # fmt: skip


@pytest.mark.parametrize("kind", KEYS)
def test_a_stored_figure_has_a_key_for_all_that_is_drawn_and_its_caption(every_kind, kind):
    figure, (svg, _) = every_kind[kind]
    words = [text_of(one) for one in ElementTree.fromstring(svg.read_text()).iter(f"{SVG}text")]
    for expected in [figure.title, figure.finding, figure.reading, *KEYS[kind]]:
        assert expected in words, expected
    assert words.count("first") == words.count("second") == 1


def test_the_key_shows_dots_diamonds_strokes_and_bands_as_the_chart_does(every_kind):
    samples = {}
    for kind, (_, (svg, _)) in every_kind.items():
        groups = ElementTree.fromstring(svg.read_text()).iter(f"{SVG}g")
        samples[kind] = [{one.tag.removeprefix(SVG) for one in group} for group in groups if is_sample(group)]
    of_both_series = {"g"}
    assert samples["lines"] == [{"circle"}, {"path"}, {"path"}, of_both_series, of_both_series]
    assert samples["dots"] == [{"circle"}, {"path"}, {"circle"}, {"path"}]  # a ring for those that never got there
    assert samples["paths"] == [{"circle"}, {"path"}]


def test_nothing_that_a_stored_figure_refers_to_is_shared_by_two_panels(every_kind):
    for _, (svg, _) in every_kind.values():
        root = ElementTree.fromstring(svg.read_text())
        names = [one.get("id") for one in root.iter() if one.get("id")]
        meant = {
            name for one in root.iter() for value in one.attrib.values() for name in re.findall(r"url\(#(.*?)\)", value)
        }
        assert len(names) == len(set(names))
        assert meant <= set(names)


@pytest.mark.slow
def test_however_long_its_words_are_nothing_runs_out_of_a_stored_figure():
    long = "Whether networks that are deeper, wider and trained for longer WILL MEMORISE more of it. " * 3
    words = "https://example.org/" + 120 * "unbroken"
    values = losses(members=2, epochs=2, diverged=False).assign_coords(network=[long, words, "short"])
    (panel,) = lines(values, "epoch", "network")
    for count in (1, 3):
        panels = tuple(Panel(panel.chart, f"{long}{place}") for place in range(count))
        svg = Figure("long", long, panels, words, 10 * long, 1)._repr_svg_()
        across, down = (float(ElementTree.fromstring(svg).get(side)) for side in ("width", "height"))
        for edge in ((0, 0, 12, down), (across - 12, 0, 12, down), (0, 0, across, 12), (0, down - 12, across, 12)):
            assert part(svg, *edge) == blank(*edge)
        assert part(svg, 20, 20, 200, 40) != blank(20, 20, 200, 40)
        told = " ".join(text_of(one) for one in ElementTree.fromstring(svg).iter(f"{SVG}text"))
        assert told.replace(" ", "").count(words) == 2  # in the key and the caption
        heads = 3 * count if count > 1 else 0
        assert told.count("WILL MEMORISE more of it") == 3 + heads + 3 + 30  # title, panels, key, caption


def test_powers_and_characters_that_no_xml_may_hold_are_drawn_all_the_same(tmp_path):
    values = losses(members=2, epochs=3, diverged=False).assign_coords(network=["a\x00b", "<script>", "\"c' & d"])
    values["epoch"].attrs = attrs("E\x07", "epoch")
    (one,) = lines(values.assign_attrs(attrs("<b>Loss</b>", "log")), "epoch", "network", title="x")
    figure = Figure('odd "name" & more', "A\x1btitle", (one, Panel(one.chart, "y")), "4.2 × 10⁻⁵ of n log₂ c", "")
    svg, png = save(figure, tmp_path)
    words = [text_of(one) for one in ElementTree.fromstring(svg.read_text()).iter(f"{SVG}text")]
    assert "4.2 × 10−5 of n log2 c" in words
    assert {"a\ufffdb", "<script>", "\"c' & d", "A\ufffdtitle", "E\ufffd", "<b>Loss</b>"} <= set(words)
    assert png.stat().st_size > 10_000


def test_figures_and_panels_show_themselves_in_a_notebook(every_kind):
    figure, _ = every_kind["scatter"]
    assert repr(figure) == "Figure('kind-scatter', 'Two of scatter?', panels=2)"
    assert Figures([figure, figure])._repr_html_().count("Two of scatter?</text>") == 2
    words = [text_of(one) for one in ElementTree.fromstring(figure.panels[0]._repr_svg_()).iter(f"{SVG}text")]
    assert words[0] == "first"
    assert "ReLU" in words
