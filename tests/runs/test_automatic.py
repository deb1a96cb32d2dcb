"""The claims that a comparison makes by itself: neither names nor other settings change what becomes of a pair."""

import json

import numpy as np
import pandas as pd
import pytest

import bathymetry as bm
from bathymetry.cli.main import main
from bathymetry.core.errors import InputError
from bathymetry.runs.answer import answer

RANDOM = np.random.default_rng(8)
NOISE = RANDOM.normal(0, 0.5, (4, 10))


def table(levels, seeds=10, **more):
    """Runs of some settings, each around its level, the same noise for each name."""
    return pd.DataFrame(
        [
            {"net": name, "seed": seed, "score": level + NOISE["abcd".index(name[-1].lower()), seed], **more}
            for name, level in levels.items()
            for seed in range(seeds)
        ]
    )


def compared(frame, **options):
    return bm.compare(frame, "score", **{"compare": "net", "higher_is_better": True} | options)


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def run(frame, *words):
        frame.to_csv("runs.csv", index=False)
        options = ["--metric", "score", "--higher-is-better", "--compare", "net", "--members", "seed"]
        status = main(["compare", "runs.csv", *options, *words])
        return status, capsys.readouterr()

    return run


@pytest.mark.parametrize("levels", [{"a": 5, "b": 0}, {"a": 0, "b": 5}])
def test_a_clear_winner_is_supported_whichever_name_comes_first(command, levels):
    status, _ = command(table(levels), "--no-page", "--expect", "supported")
    assert status == 0
    (claim,) = compared(table(levels)).claims
    winner, loser = sorted(levels, key=lambda name: -levels[name])
    assert (claim.id, claim.text) == ("compare.a-b", "a and b differ on score.")
    assert claim.finding.startswith(f"{winner} is better than {loser} in 100 % of pairs")
    assert claim.verdict.parts[0].direction == "for"


def test_against_a_baseline_the_direction_is_claimed_and_can_be_contradicted(command):
    levels = {"a": 0, "b": 5, "c": 9}
    found = compared(table(levels), baseline="b")
    assert [(one.id, one.verdict.decision) for one in found.claims] == [
        ("compare.a-over-b", "contradicted"),
        ("compare.c-over-b", "supported"),
    ]
    assert answer(found) == "Of 2 pairs with the baseline b, 1 better (c) and 1 worse (a)."
    status, said = command(table(levels), "--no-page", "--baseline", "b", "--expect", "supported")
    assert status == 1
    assert said.err == "--expect supported: compare.a-over-b is contradicted.\n"
    assert "a is better than b on score. Contradicted" in said.out


def test_a_pair_that_is_turned_from_task_to_task_contradicts_that_the_same_one_is_better():
    both = pd.concat([table({"a": 5, "b": 0}, task="x"), table({"a": 0, "b": 5}, task="y")])
    (claim,) = compared(both, by=["task"]).claims
    assert claim.text == "The same one of a and b is better on score for every task."
    assert claim.verdict.decision == "contradicted"
    half = pd.concat([table({"a": 5, "b": 0}, task="x"), table({"a": 0, "b": 0}, task="y")])
    assert compared(half, by=["task"]).claims[0].verdict.decision == "undecided"
    for levels in ({"a": 5, "b": 0}, {"a": 0, "b": 5}):
        same = pd.concat([table(levels, task="x"), table(levels, task="y")])
        assert compared(same, by=["task"]).claims[0].verdict.decision == "supported"


def test_another_set_of_settings_leaves_the_names_and_verdicts_of_claims(command, capsys):
    levels = {"a": 0, "b": 5, "c": 9, "d": 12}
    for names, out in (("abd", "one"), ("bcd", "two")):
        frame = table({name: levels[name] for name in names})
        assert command(frame, "--out", out, "--no-cache")[0] == 0
    assert main(["diff", "one", "two", "--json", "--exit-code"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["claims"]) == ["compare.b-d"]
    assert found["only_in_a"] == ["compare.a-b", "compare.a-d"]


def test_a_claim_is_found_again_by_its_name_or_its_words():
    claims = [
        "a above b on score",
        {"rule": "majority", "metric": "score", "above": -5, "name": "learns"},
        "most runs reach score > -5",
        "most runs reach score > 5",
        "most runs reach score < 5",
        "most runs reach score > 0.5",
    ]
    found = bm.compare(table({"a": 5, "b": 0}), claims=claims)
    assert [one.id.removeprefix("claims.") for one in found.claims] == [
        "a-above-b-on-score",
        "learns",
        "most-runs-reach-score-above-minus-5",
        "most-runs-reach-score-above-5",
        "most-runs-reach-score-below-5",
        "most-runs-reach-score-above-0_5",
    ]
    twice = bm.compare(table({"a": 5, "b": 0}), claims=claims[:1] * 2).claims
    assert len({one.id for one in twice}) == 2
    with pytest.raises(InputError, match="at most 60 letters"):
        bm.compare(table({"a": 5, "b": 0}), claims=[{**claims[1], "name": "a name"}])


def test_a_pair_and_its_claim_have_one_p_after_one_correction():
    frame = table({"a": 0, "b": 0.4, "c": 0.8, "d": 1.2})
    stated = [f"{one} above {other} on score" for one, other in ("ba", "ca", "da", "dc")]
    found = compared(frame, claims=stated)
    assert [one.p_holm for one in found.pairs] == [one.p_holm for one in found.claims[:6]]
    family = [*(one.p for one in found.pairs), *(one.verdict.p for one in found.stated)]
    expected = bm.stats.holm(family)
    assert [*(one.p_holm for one in found.pairs), *(one.p_holm for one in found.stated)] == expected
    assert "Holm's correction is over all 6 pairs and 4 stated claims together." in str(found)


def test_a_claim_about_several_tasks_survives_the_correction_where_all_of_its_pairs_do():
    frame = pd.concat([table({"a": 5, "b": 0, "c": 0}, task=task) for task in "xyz"])
    found = compared(frame, by=["task"])
    for claim in found.claims:
        own = [one.p_holm for one in found.pairs if claim.id == f"compare.{one.first}-{one.second}"]
        assert claim.p_holm >= max(own)


def test_the_answer_comes_first_and_names_where_a_setting_loses(command):
    levels = {"a": 0, "b": 5, "c": 9}
    turned = pd.concat([table(levels, task="x"), table(levels | {"c": 2}, task="y")])
    _, said = command(turned, "--no-page", "--by", "task")
    lines = said.out.splitlines()
    assert lines[2].startswith("No net beats all others: b wins 3 of its 4 pairs, loses 1 (to c at task=x)")
    assert "The same one of a and c is better on score for every task. Supported" in said.out
    assert "b − a: +" in said.out  # from the side of the one that is ahead


def test_names_stay_as_they_are_spelled():
    rows = pd.concat([table({"randa": 5, "b": 0}, task=task) for task in "xy"])
    found = compared(rows, by=["task"], claims=["randa above b on score"])
    assert all("randa" in one.finding and "Randa" not in one.finding for one in found.claims)
    one = compared(table({"randa": 5, "b": 0}), claims=["randa above b on score"])
    assert all(some.finding.startswith("randa ") for some in one.claims)


def test_too_few_runs_are_said_once_and_what_helps(command):
    frame = pd.concat([table({"a": 5, "b": 0, "c": 1}, seeds=5, task=task) for task in "xyz"])
    _, said = command(frame, "--no-page", "--by", "task")
    assert said.out.count("a verdict needs") == 1
    assert "bm.runs.aggregate" in said.out
