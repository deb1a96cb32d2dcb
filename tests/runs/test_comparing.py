"""Comparisons against scipy, closed forms and slow obvious searches; and the command."""

import json
import math
import re
import time

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import bathymetry as bm
from bathymetry.cli.main import main
from bathymetry.core.errors import BathymetryError
from bathymetry.runs.answer import LOOKS
from bathymetry.runs.pairs import needed
from bathymetry.stats.rank_tests import brunner_munzel


def table(**values):
    return pd.DataFrame(
        [{"net": net, "seed": seed, "score": value} for net, own in values.items() for seed, value in enumerate(own)]
    )


def compared(*, paired=None, higher_is_better=True, **values):
    return bm.compare(table(**values), "score", compare="net", higher_is_better=higher_is_better, paired=paired)


RANDOM = np.random.default_rng(5)
A, B = RANDOM.normal(1, 1, 9), RANDOM.normal(0, 2, 9)


def test_pairs_are_decided_by_the_sign_test():
    (pair,) = compared(A=A, B=B).pairs
    wins = int((A > B).sum())
    assert pair.paired
    assert pair.superiority == wins / 9
    assert pair.p == pytest.approx(stats.binomtest(wins, 9).pvalue)
    assert pair.difference == pytest.approx(np.median(A - B))
    ordered = np.sort(A - B)
    assert pair.interval == pytest.approx((ordered[1], ordered[7]))  # 2 P(B < 2) = 0.039


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_unpaired_superiority_and_shift_are_those_over_all_pairs_of_runs(higher_is_better):
    (pair,) = compared(A=A, B=B, paired=False, higher_is_better=higher_is_better).pairs
    ahead = np.mean([(a > b) == higher_is_better for a in A for b in B])
    assert pair.superiority == pytest.approx(ahead)
    assert pair.difference == pytest.approx(np.median([a - b for a in A for b in B]))
    assert pair.p == brunner_munzel(A, B).p


def test_the_interval_holds_exactly_the_shifts_that_the_test_does_not_reject():
    (pair,) = compared(A=A, B=B, paired=False).pairs
    differences = np.unique([a - b for a in A for b in B])
    between = (differences[1:] + differences[:-1]) / 2
    fits = [brunner_munzel(A - shift, B).p >= 0.05 for shift in between]
    first, last = np.flatnonzero(fits)[[0, -1]]
    assert all(fits[first : last + 1])  # it is monotone here, so that a search by halves finds the ends
    assert pair.interval == (differences[first], differences[last + 1])


@pytest.mark.parametrize("paired", [True, False])
def test_a_ratio_is_that_of_the_logarithms(paired):
    a, b = np.exp(A), np.exp(B)
    found = compared(A=a, B=b, paired=paired, higher_is_better=False)
    (pair,) = found.pairs
    logs = A - B if paired else np.subtract.outer(A, B).ravel()
    assert found.scale == "log"
    assert pair.ratio == pytest.approx(np.exp(np.median(logs)))
    assert pair.p == compared(A=A, B=B, paired=paired, higher_is_better=False).pairs[0].p  # ranks do not change


def test_accuracies_are_compared_by_odds_where_the_number_of_examples_is_known():
    right = {"A": [91, 92, 93, 94, 95, 96], "B": [81, 80, 83, 84, 80, 86]}
    rows = table(**{net: np.array(own) / 100 for net, own in right.items()})
    found = bm.compare(rows, "score", compare="net", higher_is_better=True, examples=100)
    odds = [(a + 0.5) / (100.5 - a) / ((b + 0.5) / (100.5 - b)) for a, b in zip(*right.values(), strict=True)]
    assert found.pairs[0].ratio == pytest.approx(np.exp(np.median(np.log(odds))))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("higher_is_better", [True, False])
def test_a_run_that_diverged_counts_as_worst(bad, higher_is_better):
    values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    worst = -1e9 if higher_is_better else 1e9
    options = {"paired": False, "higher_is_better": higher_is_better}
    (pair,) = compared(A=[bad, *values[1:]], B=[7.0, 8.0, 9.0, 1.5, 2.5, 3.5], **options).pairs
    (finite,) = compared(A=[worst, *values[1:]], B=[7.0, 8.0, 9.0, 1.5, 2.5, 3.5], **options).pairs
    assert (pair.superiority, pair.p, pair.diverged) == (finite.superiority, finite.p, (1, 0))
    assert pair.difference == finite.difference


def test_five_members_cannot_tell_and_six_can():
    five = compared(A=range(10, 15), B=range(5)).pairs[0]
    assert (five.decision, five.p) == ("undecided", None)
    assert compared(A=range(10, 16), B=range(6)).pairs[0].decision == "supported"


def test_p_is_adjusted_over_all_pairs_and_a_baseline_has_fewer():
    values = {name: RANDOM.normal(place, 1, 10) for place, name in enumerate("ABCD")}
    every = compared(**values)
    assert len(every.pairs) == 6
    assert [one.p_holm for one in every.pairs] == bm.stats.holm([one.p for one in every.pairs])
    rows = table(**values)
    with_c = bm.compare(rows, "score", compare="net", higher_is_better=True, baseline="C")
    assert [(one.first, one.second) for one in with_c.pairs] == [("A", "C"), ("B", "C"), ("D", "C")]


@pytest.mark.slow
@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("superiority", [0.65, 0.75])
def test_so_many_members_as_are_said_to_be_needed_decide_in_about_four_of_five_cases(paired, superiority):
    count = needed(superiority, (superiority, superiority), paired=paired).members
    shift = np.sqrt(2) * stats.norm.ppf(superiority)
    random = np.random.default_rng(0)
    decided = 0
    for _ in range(200):
        a, b = random.normal(shift, 1, count), random.normal(0, 1, count)
        p = stats.binomtest(int((a > b).sum()), count).pvalue if paired else brunner_munzel(-a, -b).p
        decided += p < 0.05
    assert 0.70 < decided / 200 < 0.90


def test_what_undecided_settings_need_follows_noether():
    pair = compared(A=[1, 2, 3, 4, 5, 6.0, 0], B=[2, 1, 2, 5, 4, 5.0, 1], paired=False).pairs[0]
    assert pair.decision == "undecided"
    z = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    assert pair.needed.members == np.ceil(z**2 / (6 * (pair.superiority - 0.5) ** 2))
    assert pair.needed.most is None


@pytest.mark.parametrize("wins", [7, 8, 9])
def test_what_undecided_pairs_need_is_the_smallest_number_from_which_on_the_sign_test_has_the_power(wins):
    pair = compared(A=[1] * wins + [0] * (10 - wins), B=[0] * wins + [1] * (10 - wins)).pairs[0]
    share = wins / 10

    def power(count):
        clear = [k for k in range(count + 1) if stats.binomtest(k, count).pvalue < 0.05]
        return stats.binom.pmf(clear, count, share).sum()

    enough = [power(count) >= 0.8 for count in range(6, 90)]
    expected = 6 + next(k for k in range(84) if all(enough[k:]))
    found = pair.needed or needed(share, (share, share), paired=True)  # nine of ten are decided
    assert found.members == expected


def test_a_claim_over_several_tasks_holds_only_if_it_holds_for_each():
    rows = pd.concat([table(A=A + 5, B=B).assign(task="easy"), table(A=B, B=A).assign(task="hard")])
    found = bm.compare(rows, "score", compare="net", by="task", higher_is_better=True)
    assert [one.at for one in found.pairs] == [{"task": "easy"}, {"task": "hard"}]
    assert found.pairs[0].decision == "supported"
    assert found.claims[0].verdict.decision != "supported"


def test_the_command_prints_pairs_and_ends_with_what_was_expected(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "runs.csv"
    table(A=range(10, 20), B=range(10)).to_csv(path, index=False)
    words = ["compare", str(path), "--metric", "score", "--higher-is-better", "--compare", "net", "--members", "seed"]
    words.append("--no-page")
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "A and B: A is better (10 pairs, p = 0.002)" in printed
    assert max(map(len, printed.splitlines())) <= 100
    assert main([*words, "--expect", "supported"]) == 0
    assert main([*words, "--expect", "undecided"]) == 1
    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pairs"][0]["p"] == pytest.approx(2 / 1024)


@pytest.mark.parametrize(
    ("left_out", "words"),
    [
        ("--metric", "--metric: missing"),
        ("--higher-is-better", "expected one of them, the direction of the metric"),
        ("--members", "--members: missing"),
        ("--compare", "--compare: missing"),
    ],
)
def test_what_must_be_stated_is_asked_for(tmp_path, capsys, left_out, words):
    options = {"--metric": "score", "--higher-is-better": "", "--compare": "net", "--members": "seed"}
    given = [word for name, value in options.items() if name != left_out for word in (name, value) if word]
    assert main(["compare", str(tmp_path), *given]) == 2
    assert words in capsys.readouterr().err


def test_all_that_is_missing_is_asked_for_at_once_with_what_the_runs_have(tmp_path, capsys):
    path = tmp_path / "runs.csv"
    table(A=A, B=B).to_csv(path, index=False)
    assert main(["compare", str(path)]) == 2
    said = capsys.readouterr().err
    assert "--metric, --compare, --members, --higher-is-better or --lower-is-better: missing" in said
    assert f"{path} has the metrics score and the settings net and seed" in said
    assert main(["compare", str(tmp_path / "none.csv")]) == 2
    assert "--members, --higher-is-better or --lower-is-better: missing; for example" in capsys.readouterr().err


def test_an_expected_verdict_that_there_is_not_is_answered_with_the_choices(tmp_path, capsys):
    assert main(["compare", str(tmp_path), "--expect", "better"]) == 2
    assert "expect = better: expected supported, contradicted or undecided" in capsys.readouterr().err


def test_a_ratio_is_never_rounded_over_one_and_an_end_that_is_not_there_is_no_limit():
    logs = np.array([0.004, 0.01, 0.02, 0.3, 0.35, 0.4, 0.45, 0.5])
    found = compared(A=np.exp(logs), B=np.ones(8), higher_is_better=False)
    (pair,) = found.pairs
    assert pair.decision == "contradicted"
    (low,) = re.findall(r"ratio, B / A: .*interval \S+ to (\S+)\)", str(found))
    assert float(low) < 1  # exp(−0.004), by the side of the one that is better
    gone = compared(A=[*np.exp(logs[:6]), np.nan, np.nan], B=np.ones(8), higher_is_better=False)
    assert "no limit" in str(gone)
    assert "no 95 % interval" not in str(gone)


def test_an_error_of_one_look_after_every_run_is_what_the_docs_say():
    """The chance that the sign test is clear at some number of pairs from six on, where each is a coin toss."""
    tails = {}
    for last in (20, 50):
        paths, tails[last] = {0: 1.0}, 0.0
        for count in range(1, last + 1):
            paths = {k: (paths.get(k, 0) + paths.get(k - 1, 0)) / 2 for k in range(count + 1)}
            if count >= 6:
                clear = [k for k in paths if stats.binomtest(k, count).pvalue < 0.05]
                tails[last] += sum(paths.pop(k) for k in clear)
    assert f"in {tails[20]:.0%} of cases up to 20 pairs, and in {tails[50]:.0%} up to 50".replace("%", " %") in LOOKS


def test_runs_that_end_at_different_steps_are_said():
    rows = pd.concat([table(A=A, B=B).assign(step=step) for step in (1, 2, 3)])
    rows = rows[(rows["seed"] > 0) | (rows["step"] < 3)]
    options = {"compare": "net", "higher_is_better": True}
    assert bm.compare(rows, "score", **options).left_out == (
        "the runs end between step 2 and step 3; --at step:2 compares them at one step",
    )
    assert bm.compare(rows, "score", at="step:2", **options).left_out == ()


def test_one_setting_or_one_seed_is_refused():
    with pytest.raises(BathymetryError, match="all runs have A"):
        compared(A=[1, 2, 3])
    with pytest.raises(BathymetryError, match="each setting has one member"):
        compared(A=[1], B=[2])


@pytest.mark.slow
@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("members", [6, 12])
@pytest.mark.parametrize("kind", ["normal", "exponential", "standard_cauchy"])
def test_the_interval_of_the_difference_covers_a_true_shift(paired, members, kind):
    from bathymetry.runs.pairs import pair

    draw, hits, trials = getattr(np.random.default_rng(members), kind), 0, 400
    for _ in range(trials):
        a, b = draw(size=members) + 1, draw(size=members)
        low, high = pair(a, b, names=("A", "B"), at={}, paired=paired, higher_is_better=True).interval
        hits += low <= 1 <= high
    assert stats.binomtest(hits, trials, 0.95, alternative="less").pvalue > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("digits", [9, 2])  # without ties and with many
def test_six_members_against_twenty_thousand_take_seconds(digits):
    random = np.random.default_rng(0)
    values = {"A": random.normal(0.9, 0.02, 6).round(digits), "B": random.normal(0.91, 0.02, 20_000).round(digits)}
    start = time.process_time()
    (pair,) = compared(**values, paired=False).pairs
    assert time.process_time() - start < 15
    assert pair.superiority == pytest.approx(
        np.mean([(a > b) + (a == b) / 2 for a in values["A"] for b in values["B"]])
    )


def test_of_many_members_the_difference_is_that_of_random_pairs_the_same_from_both_sides():
    base = np.random.default_rng(1).normal(size=1_600)
    found = [compared(A=a, B=b, paired=False).pairs[0] for a, b in ((base + 1, base), (base, base + 1))]
    assert found[0].difference == pytest.approx(1, abs=0.01)  # of all pairs it is 1
    assert found[0].difference == -found[1].difference
    assert found[0].interval == pytest.approx([-end for end in found[1].interval[::-1]], abs=1e-9)
    effect = stats.norm.ppf(0.975) * math.sqrt(2 / 1_600 * math.pi / 3)  # the estimator's asymptotic error
    assert found[0].interval == pytest.approx((1 - effect, 1 + effect), abs=0.02)
