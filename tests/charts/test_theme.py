import json
import re

from bathymetry.charts import lines
from bathymetry.charts.theme import PALETTE, configuration, twins
from charts.cases import losses


def contrast(one: str, other: str) -> float:
    """Give WCAG's contrast ratio of two colours."""

    def luminance(colour: str) -> float:
        shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_black_on_white_has_the_contrast_of_the_standard():
    assert round(contrast("#000000", "#ffffff"), 2) == 21


def test_words_and_lines_stand_out_on_both_faces():
    for face in (0, 1):
        paper = PALETTE["paper"][face]
        assert contrast(PALETTE["ink"][face], paper) >= 7
        assert contrast(PALETTE["muted"][face], paper) >= 4.5
        assert all(contrast(pair[face], paper) >= 3 for name, pair in PALETTE.items() if name.startswith("series"))


def test_every_colour_of_a_chart_has_a_twin():
    chart = lines(losses(), "epoch", "network")[0].chart.to_dict()
    chart.pop("datasets")
    used = set(re.findall(r"#[0-9a-f]{6}", json.dumps([chart, configuration()])))
    assert used
    assert used <= set(twins())
