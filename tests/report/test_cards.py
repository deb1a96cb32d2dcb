"""The small charts of answer cards: of every kind of figure, small, and with the names of lines apart."""

import json

import pytest

from bathymetry.report.cards import card_chart
from bathymetry.studies import find
from bathymetry.studies.catalogue import SHIPPED
from report.cases import figures_of_every_kind, loss_figure


def layers(chart):
    return chart["layer"]


def test_a_card_has_the_centres_thinned_with_both_ends_and_no_member():
    panel = loss_figure(1).sheet().panels[0]
    (lines,) = [one for one in layers(card_chart(panel)) if "strokeDash" in one["encoding"]]
    rows = lines["data"]["values"]
    centre = next(one for one in panel.view["layer"] if "strokeDash" in one["encoding"])
    whole = panel.view["datasets"][centre["data"]["name"]]
    assert {row["series"] for row in rows} == {row["series"] for row in whole}
    for name in {row["series"] for row in whole}:
        thin, full = ([row for row in some if row["series"] == name] for some in (rows, whole))
        assert len(thin) <= 48
        for place in (0, -1):
            assert thin[place]["y"] == pytest.approx(full[place]["y"], rel=1e-3)
    assert all("member" not in row for row in rows)


def test_every_line_has_its_name_once():
    names = [one["data"]["values"][0]["series"] for one in layers(card_chart(loss_figure(1).sheet().panels[0]))
             if one["mark"] != "rule" and one["mark"]["type"] == "text"]  # fmt: skip
    assert sorted(names) == ["deep 1-24-16-10-8-4-1", "middle 1-32-16-9-1", "shallow 1-250-1"]


def test_cards_of_every_kind_of_chart_are_small_and_leave_the_figure_as_it_was():
    for figure in figures_of_every_kind():
        panel = figure.sheet().panels[0]
        before = json.dumps(panel.view)
        assert len(json.dumps(card_chart(panel))) < 16_000
        assert json.dumps(panel.view) == before


@pytest.mark.parametrize("study", SHIPPED)
def test_the_figures_that_answer_a_study_are_among_its_own(study):
    finding, chart, _ = find(study).answered_by
    assert {finding, chart} <= {mark.method for mark in find(study).figures()}
