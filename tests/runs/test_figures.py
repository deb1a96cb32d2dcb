"""The charts of a comparison show the numbers of the runs, not what the charts make of them."""

import numpy as np
import pandas as pd
import pytest

import bathymetry as bm
from bathymetry.runs.watching import changes
from charts.specification import axis_titles, centre_rows, chart_of, layers, lines, member_rows, rows_of
from runs import realistic


def compared(frame, metric="val/accuracy", **options):
    options = {"compare": "optimizer", "higher_is_better": metric != "train/loss"} | options
    return bm.compare(frame, metric, **options)


def figure(found, name):
    return next(one for one in found.figures if one.name == name)


def series(frame, optimizer, seed, metric="val/accuracy"):
    own = frame[(frame["optimizer"] == optimizer) & (frame["seed"] == seed)]
    return own[metric].to_numpy()


def test_learning_curves_go_as_far_as_each_run_and_the_median_leaves_out_those_that_do_not_arrive():
    frame = realistic.two(steps=40)
    shown = figure(compared(frame), "learning")
    chart = chart_of(shown.panels)
    drawn = lines(member_rows(chart))
    assert np.isnan(drawn["adam", 4]).argmax() == 24  # it diverged
    assert np.isnan(drawn["sgd", 7]).argmax() == 18  # it crashed
    np.testing.assert_allclose(drawn["sgd", 3], series(frame, "sgd", 3), rtol=1e-4)
    whole = [series(frame, "sgd", seed) for seed in range(10) if seed not in (2, 7)]
    middle = [row["y"] for row in centre_rows(chart) if row["series"] == "sgd"]
    np.testing.assert_allclose(middle, np.median(whole, axis=0), rtol=1e-4)
    assert shown.finding == "Of 19 runs sgd 7 crashed at step 17 and 1 diverged."


def test_a_run_keeps_its_last_value_between_the_steps_at_which_others_log():
    rows = [("a", seed, step, seed + step) for seed in range(6) for step in range(9)]
    rows += [("b", seed, step, seed - step) for seed in range(6) for step in range(0, 9, 4)]
    frame = pd.DataFrame(rows, columns=["optimizer", "seed", "step", "score"])
    drawn = lines(member_rows(chart_of(figure(compared(frame, "score"), "learning").panels)))
    assert drawn["b", 2].tolist() == [2, 2, 2, 2, -2, -2, -2, -2, -6]


def test_a_longer_run_does_not_end_the_median_of_the_others_and_a_shorter_one_is_left_out_of_it():
    frame = realistic.lengths()
    chart = chart_of(figure(compared(frame), "learning").panels)
    ends = {name: [row for row in centre_rows(chart) if row["series"] == name] for name in ("adam", "sgd")}
    last = {name: max(row["x"] for row in rows if row["y"] is not None) for name, rows in ends.items()}
    assert 295 <= last["adam"] <= 300  # of 400, which one of eight reaches
    assert 295 <= last["sgd"] <= 300
    first = next(row for row in ends["sgd"] if row["y"] is not None)
    whole = [series(frame, "sgd", seed)[0] for seed in range(8) if seed != 3]
    assert first["y"] == pytest.approx(np.median(whole), rel=1e-4)


def test_final_values_are_those_that_are_compared_and_say_who_has_none():
    frame = realistic.two(steps=40)
    shown = figure(compared(frame), "final")
    (panel,) = shown.panels
    x = {(row["series"], row["one"]): row["x"] for row in member_rows(panel.chart)}
    assert x["adam", 0] == pytest.approx(series(frame, "adam", 0)[-1], rel=1e-4)
    assert [key for key, value in x.items() if value is None] == [("adam", 4), ("sgd", 2), ("sgd", 7)]
    assert shown.finding.startswith("1 run of adam diverged and counts as worst. Medians of what is compared: adam ")


def test_the_medians_that_are_named_rank_a_run_that_diverged_as_worst():
    scores = {"a": [5.0, 6.0, 7.0, 8.0, 9.0, np.nan, np.nan], "b": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]}
    rows = [(name, seed, score) for name, some in scores.items() for seed, score in enumerate(some)]
    found = compared(pd.DataFrame(rows, columns=["optimizer", "seed", "score"]), "score")
    assert figure(found, "final").finding.endswith("Medians of what is compared: a 6.00 and b 4.00.")


def test_differences_and_ratios_are_drawn_with_the_intervals_of_the_pairs():
    frame = realistic.tasks().query("step < 20 and optimizer in ['adam', 'sgd', 'lion']")
    frame = pd.concat([frame.assign(seed=frame["seed"] + 5 * k) for k in range(2)])
    found = compared(frame, "train/loss", by="task", paired=False)
    for name, value, ends in (("differences", "difference", "interval"), ("ratios", "ratio", "ratio_interval")):
        panels = figure(found, name).panels
        assert [panel.title for panel in panels] == ["task=cifar", "task=mnist", "task=svhn"]
        own = [one for one in found.pairs if one.at["task"] == "mnist"]
        dots = next(
            rows for layer in layers(panels[1].chart) if "decided" in (rows := rows_of(panels[1].chart, layer))[0]
        )
        assert [row["x"] for row in dots] == pytest.approx([getattr(one, value) for one in own], rel=1e-4)
        drawn = [(row["low"], row["high"]) for row in dots]
        assert np.allclose(drawn, [getattr(one, ends) for one in own], rtol=1e-4)


def tips_of(panel):
    """The arrows of a chart, by their shape, and the ends of its axis."""
    marks = {layer["mark"]["shape"]: layer for layer in layers(panel.chart) if "shape" in layer["mark"]}
    tips = {shape: [row["x"] for row in rows_of(panel.chart, layer)] for shape, layer in marks.items()}
    return tips, ends_of(panel, "x")


def ends_of(panel, channel):
    """The ends of an axis."""
    found = [layer["encoding"].get(channel, {}) for layer in layers(panel.chart)]
    return next(one["scale"]["domain"] for one in found if "domain" in one.get("scale", {}))


def test_an_interval_without_an_end_is_drawn_to_the_edge_with_an_arrow_and_said():
    found = compared(realistic.two(steps=40))
    (panel,) = figure(found, "differences").panels
    assert found.pairs[0].interval[0] == -np.inf
    assert "no limit to" in panel.description
    tips, (first, last) = tips_of(panel)
    assert tips == {"triangle-left": [pytest.approx(first, rel=1e-4)]}
    assert found.pairs[0].interval[1] < last


def test_finite_intervals_lie_on_the_axis_also_around_a_difference_of_almost_nothing():
    rows = [("a", seed, seed + 0.001) for seed in range(10)] + [("b", seed, seed) for seed in range(10)]
    found = compared(pd.DataFrame(rows, columns=["optimizer", "seed", "score"]), "score", paired=False)
    (panel,) = figure(found, "differences").panels
    tips, (first, last) = tips_of(panel)
    assert tips == {}
    assert first < found.pairs[0].interval[0] < -1
    assert 1 < found.pairs[0].interval[1] < last


@pytest.mark.parametrize(("times", "is_shared"), [(50.0, False), (1.1, True)])
def test_panels_of_unlike_scale_have_axes_of_their_own_and_say_so(times, is_shared):
    whole = [realistic.tasks().query("step < 40 and optimizer in ['adam', 'sgd'] and task == 'svhn'")] * 2
    frame = pd.concat([one.assign(task=k, score=one["val/accuracy"] * times**k) for k, one in enumerate(whole)])
    found = compared(frame, "score", by="task")
    for name, channel in (("learning", "y"), ("final", "x"), ("differences", "x")):
        shown = figure(found, name)
        low, high = (ends_of(panel, channel) for panel in shown.panels)
        assert (low == high) == is_shared
        assert is_shared or high[1] == pytest.approx(times * low[1], rel=0.05)
        assert shown.finding.endswith("Each panel has an axis of its own, for their ranges differ.") != is_shared


def test_a_metric_stays_as_it_is_spelled_and_a_logarithmic_axis_says_that_it_is_one():
    frame = realistic.two(steps=200).rename(columns={"train/loss": "loss"}).dropna()
    found = bm.compare(frame, "loss", compare="optimizer", higher_is_better=False)
    assert ("y", "loss (log scale)") in axis_titles(chart_of(figure(found, "learning").panels))
    assert ("x", "loss at the last step (log scale)") in axis_titles(chart_of(figure(found, "final").panels))
    assert ("x", "Ratio of loss (log scale)") in axis_titles(chart_of(figure(found, "ratios").panels))


def test_many_runs_and_settings_are_thinned_and_the_figure_says_so():
    rows = [
        (name, task, seed, step, ord(name) + np.sin(seed) + step / 100)
        for name in "abcdefghijkl"
        for task in range(3)
        for seed in range(6)
        for step in range(0, 1000, 4)
    ]
    frame = pd.DataFrame(rows, columns=["optimizer", "task", "seed", "step", "score"])
    found = compared(frame, "score", by="task")
    shown = figure(found, "learning")
    assert "the 8 best of 12 values of optimizer" in shown.reading
    assert "of 250 steps" in shown.reading
    drawn = [row for panel in shown.panels for row in member_rows(panel.chart)]
    assert {row["series"] for row in drawn} == set("efghijkl")
    assert len(drawn) < 80_000


def test_what_changed_between_two_readings_is_one_line():
    frame = realistic.two(steps=40)
    early = frame[(frame["seed"] < 6) & (frame["step"] < 30)]
    before, now = compared(early), compared(frame)
    assert changes(before, now) == "11 runs went on and 8 runs are new"
    assert changes(now, now) == ""


def test_a_verdict_that_changed_is_said():
    frame = realistic.lengths()
    before, now = compared(frame[frame["seed"] < 5]), compared(frame)
    assert changes(before, now).endswith("adam and sgd: undecided → adam is better")


def test_values_far_away_leave_the_axis_to_the_others_and_are_counted():
    frame = realistic.two(steps=40).fillna({"val/accuracy": 1e30})
    found = compared(frame)
    for name in ("learning", "final"):
        shown = figure(found, name)
        (panel,) = shown.panels
        scales = [
            encoding["scale"]["domain"]
            for layer in layers(panel.chart)
            for channel, encoding in layer["encoding"].items()
            if channel == ("y" if name == "learning" else "x") and isinstance(encoding, dict) and "scale" in encoding
        ]
        assert all(ends[1] < 2 for ends in scales if len(ends) == 2)
        count = 16 if name == "learning" else 1
        assert (
            f"{count} {'values are' if count > 1 else 'value is'} beyond the axis, as far as 1.00 × 10³⁰."
            in shown.finding
        )
