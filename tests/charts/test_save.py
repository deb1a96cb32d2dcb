import struct
import xml.etree.ElementTree as ElementTree
import zlib

import numpy as np
import pytest

from bathymetry.charts import Figure, curves, panel, predictions, save
from charts.cases import losses
from charts.cases import predictions as prediction_cases


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


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    lines, truth = prediction_cases()
    panels = [predictions(lines.isel(network=place), truth, x_title="x", y_title="y") for place in range(3)]
    figure = Figure(
        name="04-prediction-cos",
        title="What did each network make of cos(x)?",
        panels=tuple(panel(chart, f"network {place}") for place, chart in enumerate(panels)),
        finding="",
        reading="",
        number=4,
    )
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


def test_an_svg_draws_every_member(tmp_path):
    chart = curves(losses(members=7, diverged=False), x="epoch", series="network", x_title="Epoch", y_title="Loss")
    figure = Figure("01-loss", "Loss", (panel(chart, "Loss"),), "", "")
    root = ElementTree.fromstring(save(figure, tmp_path)[0].read_text())
    faint = [path for path in root.iter("{http://www.w3.org/2000/svg}path") if path.get("stroke-opacity") == "0.3"]
    assert len(faint) == 21
