"""Runs that were read before are compared as those of the table that they come from."""

import numpy as np
import pandas as pd
import pytest

import bathymetry as bm
from bathymetry.core.errors import InputError
from bathymetry.runs.watching import changes

SEEDS = 7
POINTS = ("last", "best", "step:8", "step:4", "step:9", "mean:last-50%")


def table(change=lambda rows: rows):
    """Losses of two nets at steps 0 to 9; some runs are short, and of some a part is NaN or infinite."""
    random = np.random.default_rng(0)
    rows = [
        {"net": net, "seed": seed, "step": step, "loss": 2 - (net == "A") + random.normal(), "acc": random.normal()}
        for net in "AB"
        for seed in range(SEEDS)
        for step in range(10)
        if not (seed == 1 and step > 8 - 3 * (net == "A"))
    ]
    return change(pd.DataFrame(rows))


def compared(runs, **options):
    return bm.compare(runs, "loss", compare="net", higher_is_better=False, **options)


def read(rows, at="last", **options):
    return bm.runs.read(rows, members="seed", compare="net", at=at, cache=False, **options)


def numbers(found):
    (pair,) = found.pairs
    return pair.members, pair.diverged, pair.difference, pair.p, found.left_out, found.results["status"].values.tolist()


def broken(rows):
    """One run is NaN from step 5 on, and one infinite at step 4 only."""
    own = rows.net == "B"
    loss = rows.loss.mask(own & (rows.seed == 2) & (rows.step >= 5))
    return rows.assign(loss=loss.mask(own & (rows.seed == 3) & (rows.step == 4), np.inf))


@pytest.mark.parametrize("change", [lambda rows: rows, broken])
@pytest.mark.parametrize("before", ["last", "step:8", "step:9"])
@pytest.mark.parametrize("now", POINTS)
def test_a_point_other_than_they_were_read_with_gives_what_the_table_gives(before, now, change):
    rows = table(change)
    assert numbers(compared(read(rows, before), at=now)) == numbers(compared(rows, at=now))


def test_a_run_that_is_too_short_for_another_metric_counts():
    rows = table(lambda rows: rows.assign(acc=rows.acc.mask((rows.seed == 3) & (rows.step > 4))))
    rows = rows[(rows.seed != 3) | (rows.step < 9) | (rows.net == "B")]
    assert numbers(compared(read(rows, "step:8"), at="step:8")) == numbers(compared(rows, at="step:8"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ignore": ["seed"]}, "ignore = .*laid out already"),
        ({"step": "step"}, "step = 'step': the runs are laid out already"),
        ({"run": "id"}, "run = 'id': the runs are laid out already"),
        ({"format": "CSV"}, "format = 'CSV': the runs are laid out already"),
        ({"members": "trial"}, "members = 'trial': the runs are laid out already, with seed as members"),
        ({"by": ["task"]}, "by = 'task': the runs are laid out already; expected an axis of them: net"),
        ({"where": {"lr": 0.1}}, "where = 'lr': the runs are laid out already"),
        ({"where": {"net": "C"}}, "where = 'net=C': expected a value that a run has: A or B"),
    ],
)
def test_what_only_a_reader_can_do_is_refused(options, said):
    with pytest.raises(InputError, match=said.replace("'", "")):
        compared(read(table()), **options)


def test_where_chooses_among_runs_that_were_read():
    rows = pd.concat([table(), table(lambda rows: rows[rows.net == "B"].assign(net="C", loss=rows.loss + 1))])
    chosen = compared(read(rows), where={"net": ["A", "B"]})
    assert [(one.first, one.second) for one in chosen.pairs] == [("A", "B")]
    assert chosen.to_dict()["pairs"] == compared(table()).to_dict()["pairs"]


def never_logged(tmp_path):
    """Three runs of one agent have no score."""
    values = {}
    for place, (agent, game, seed) in enumerate((a, g, s) for a in "dp" for g in "xy" for s in range(6)):
        folder = tmp_path / f"version_{place}"
        folder.mkdir()
        there = agent == "d" or seed >= 3
        if there:
            values.setdefault((agent, game), []).append(float(place))
        score = place if there else ""
        (folder / "metrics.csv").write_text(f"step,score,loss\n0,{score},1\n1,{score},1\n")
        (folder / "hparams.yaml").write_text(f"agent: {agent}\ngame: {game}\nseed: {seed}\n")
    return values


def test_runs_that_never_logged_the_metric_are_left_out_and_counted(tmp_path):
    values = never_logged(tmp_path)
    runs = bm.runs.read(tmp_path, members="seed", compare="agent", by=["game"], cache=False)
    made = bm.runs.aggregate(runs, "score", tasks="game", resamples=10)
    assert made.runs.values.tolist() == [[6, 6], [3, 3]]
    for agent in "dp":
        expected = np.mean([np.mean(values[agent, game]) for game in "xy"])
        assert float(made["mean"].sel(agent=agent)) == pytest.approx(expected)
    found = bm.compare(runs, "score", compare="agent", higher_is_better=True, paired=False)
    assert found.pairs[0].members == (6, 3)
    for left_out in (found.left_out, made.attrs["left_out"]):
        assert "6 runs without a value of score left out" in left_out


def test_an_aggregate_leaves_out_what_a_comparison_leaves_out():
    def unfinished(rows):
        states = np.select([rows.seed == 0, rows.seed == 2], ["crashed", "running"], "finished")
        return rows.assign(status=states, task="x")

    runs = bm.runs.read(table(unfinished), members="seed", compare="net", by=["task"], at="step:8", cache=False)
    made = bm.runs.aggregate(runs, "loss", tasks="task", higher_is_better=False, resamples=10)
    (pair,) = compared(runs, at="step:8", paired=False).pairs
    assert tuple(made.runs.values[:, 0]) == pair.members == (SEEDS - 3, SEEDS - 2)


def test_numbers_that_change_are_a_change():
    before = compared(table())
    assert changes(before, compared(table())) == ""
    other = table(lambda rows: rows.assign(loss=5 * rows.loss))
    assert changes(before, compared(other)) == f"{2 * SEEDS} runs have other numbers"
    middle = table(lambda rows: rows.assign(loss=rows.loss + ((rows.seed == 0) & (rows.step == 3))))
    assert changes(before, compared(middle)) == "2 runs have other numbers"


def test_a_run_that_never_logged_the_metric_is_counted_so_by_its_files_and_as_read(tmp_path):
    never_logged(tmp_path)
    options = {"compare": "agent", "higher_is_better": True, "paired": False}
    direct = bm.compare(tmp_path, "score", by=["game"], cache=False, **options)
    assert "6 runs without a value of score left out" in direct.left_out
    runs = bm.runs.read(tmp_path, members="seed", compare="agent", by=["game"], cache=False)
    assert bm.compare(runs, "score", **options).left_out == direct.left_out
