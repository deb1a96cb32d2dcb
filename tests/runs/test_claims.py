"""Claims over runs against scipy, order statistics and counting by hand; as sentences, as fields and as a command."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import bathymetry as bm
from bathymetry.cli.main import main
from bathymetry.core.errors import BathymetryError
from bathymetry.runs.at import read_at
from bathymetry.runs.claims import Claim, read_claims
from bathymetry.runs.dataset import Grouping, dataset
from bathymetry.runs.files import Source
from bathymetry.runs.run import Run, history
from bathymetry.runs.sentences import read_sentence, written
from bathymetry.runs.settings import is_same
from bathymetry.stats.rank_tests import brunner_munzel, sign_test

RANDOM = np.random.default_rng(7)
SEEDS = 10
SCORES = {
    name: RANDOM.normal(place, 1, SEEDS) for name, place in {"adam": 2.0, "adamw": 1.2, "sgd": 0.0, "nag": 0.1}.items()
}


def rows(scores=SCORES, name="optimizer", metric="acc", **more):
    """One row per run."""
    return pd.DataFrame(
        [
            {name: setting, "seed": seed, metric: value, **more}
            for setting, own in scores.items()
            for seed, value in enumerate(own)
        ]
    )


def curves(values, steps=(1, 2, 3, 4), name="optimizer", metric="loss", status=None):
    """One row per run and step."""
    return pd.DataFrame(
        [
            {name: setting, "seed": seed, "step": step, metric: value, "status": (status or {}).get(seed, "finished")}
            for setting, own in values.items()
            for seed, curve in enumerate(own)
            for step, value in zip(steps, curve, strict=False)
        ]
    )


def judged(runs, *claims, **options):
    return bm.compare(runs, claims=list(claims), **options).claims


def only(runs, claim, **options):
    (found,) = judged(runs, claim, **options)
    return found


FALLING = [[0.9, 0.4, 0.05, 0.2]] * 7 + [[0.9, 0.4, 0.3, 0.05]] * 2 + [[0.9, np.nan, np.nan, np.nan]]


@pytest.mark.parametrize(
    ("claim", "count"),
    [
        ("optimizer=adam reaches loss < 0.1 by step 3 in most runs", 7),
        ("optimizer=adam reaches loss < 0.1 in most runs", 9),
        ("most runs reach loss < 0.1 at last", 2),
        ("most runs reach loss < 0.1 by step 2", 0),
        ("most runs of optimizer=adam reach loss > 0.35 at step:2", 9),
        ("optimizer=adam reaches loss below 0.3 at mean:last-50% in most runs", 9),
    ],
)
def test_a_majority_counts_the_runs_that_reach_a_number(claim, count):
    one = only(curves({"adam": FALLING}), claim)
    (part,) = one.verdict.parts
    test = stats.binomtest(count, 10)
    interval = test.proportion_ci(method="exact")
    assert part.estimate * 10 == pytest.approx(count)
    assert one.verdict.p == pytest.approx(test.pvalue)
    assert part.interval == pytest.approx((interval.low, interval.high))
    decisions = {True: "supported", False: "contradicted"}
    assert one.verdict.decision == (decisions[count > 5] if test.pvalue < 0.05 else "undecided")
    assert one.finding.startswith(f"{count} of 10 members (")


@pytest.mark.parametrize("claim", ["most runs reach loss > 5", "most runs reach loss > 5 at last"])
def test_a_run_at_infinity_has_diverged_and_reaches_nothing(claim):
    one = only(curves({"adam": [[1, np.inf]] * 3 + [[1, 6.0]] * 7}, steps=(1, 2)), claim)
    assert one.finding.startswith("7 of 10 members")


def test_an_order_of_shared_seeds_is_decided_by_the_sign_test():
    one = only(rows(), "adam above sgd on acc")
    wins = int((SCORES["adam"] > SCORES["sgd"]).sum())
    assert one.verdict.p == pytest.approx(stats.binomtest(wins, SEEDS).pvalue)
    assert one.verdict.parts[0].estimate == wins / SEEDS
    assert "the sign test of the pairs" in one.rule


@pytest.mark.parametrize("side", ["above", "below"])
def test_an_order_of_other_seeds_is_decided_by_brunner_and_munzels_test(side):
    one = only(rows(), f"adamw {side} optimizer=nag on acc", paired=False)
    sign = -1 if side == "above" else 1
    test = brunner_munzel(sign * SCORES["adamw"], sign * SCORES["nag"])
    assert (one.verdict.p, one.verdict.parts[0].estimate) == (test.p, test.superiority)


@pytest.mark.parametrize("paired", [True, False])
def test_one_of_several_is_tested_at_a_share_of_five_percent(paired):
    one = only(rows(), "one of adam, adamw above each of sgd, nag on acc", paired=paired)

    def p_of(a, b):
        return sign_test(a - b).p if paired else brunner_munzel(-a, -b).p

    clearest = min(max(p_of(SCORES[a], SCORES[b]) for b in ("sgd", "nag")) for a in ("adam", "adamw"))
    assert one.verdict.p == pytest.approx(min(1, 2 * clearest))
    assert "97.5 % interval" in one.finding
    if paired:
        share = one.verdict.parts[0].estimate
        interval = stats.binomtest(round(share * SEEDS), SEEDS).proportion_ci(0.975, method="exact")
        assert one.verdict.parts[0].interval == pytest.approx((interval.low, interval.high))


@pytest.mark.parametrize(
    ("words", "x"), [("learning_rate", [0.1, 0.2, 0.4]), ("log learning_rate", [-2.3, -1.6, -0.9])]
)
def test_a_slope_is_that_of_each_seed_over_the_values(words, x):
    random = np.random.default_rng(1)
    values = {rate: random.normal(-2 * rate, 0.2, SEEDS) for rate in (0.1, 0.2, 0.4)}
    one = only(rows(values, name="learning_rate", metric="val/loss"), f"val/loss falls with {words}")
    x = np.log([*values]) if words.startswith("log") else np.array([*values])
    slopes = [np.polyfit(x, [values[rate][seed] for rate in values], 1)[0] for seed in range(SEEDS)]
    assert one.verdict.parts[0].estimate == pytest.approx(np.median(slopes))
    assert one.verdict.p == pytest.approx(stats.binomtest(sum(slope > 0 for slope in slopes), SEEDS).pvalue)
    ordered = np.sort(slopes)
    assert one.verdict.parts[0].interval == pytest.approx((ordered[1], ordered[8]))


def test_an_interval_holds_the_median_between_two_order_statistics():
    one = only(rows(), "acc of optimizer=adam lies between -1 and 5")
    ordered = np.sort(SCORES["adam"])
    assert one.verdict.parts[0].interval == pytest.approx((ordered[1], ordered[8]))
    outside = max((SCORES["adam"] < -1).sum(), (SCORES["adam"] > 5).sum())
    assert one.verdict.p == pytest.approx(min(1, 2 * stats.binom.sf(SEEDS - outside - 1, SEEDS, 0.5)))


def test_a_correlation_is_that_of_ranks_and_needs_twenty_members():
    random = np.random.default_rng(3)
    loss = random.normal(0, 1, 24)
    table = rows({"adam": loss}, metric="loss").assign(acc=-loss + random.normal(0, 0.3, 24))
    claim = "loss and acc correlate negatively in optimizer=adam"
    one = only(table, claim)
    assert one.verdict.parts[0].estimate == pytest.approx(stats.spearmanr(table["loss"], table["acc"])[0])
    assert one.verdict.decision == "supported"
    few = only(table[:19], claim)
    assert (few.verdict.decision, few.verdict.p) == ("undecided", None)
    assert "19 members, fewer than the 20" in few.verdict.reason


@pytest.mark.parametrize(
    ("values", "decision"),
    [
        ({0.1: [0.05] * 6, 0.2: [0.5] * 6}, "supported"),
        ({0.1: [0.05] * 5 + [0.5], 0.2: [0.5] * 6}, "undecided"),
        ({0.1: [0.5] * 6, 0.2: [0.5] * 6}, "contradicted"),
        ({0.1: [0.05] * 5, 0.2: [0.5] * 6}, "undecided"),
    ],
)
def test_some_value_needs_six_runs_that_all_reach_the_number(values, decision):
    table = rows(values, name="lr", metric="loss")
    assert only(table, "some lr reaches loss < 0.1 in all runs").verdict.decision == decision


SAME = [
    (
        "optimizer=adam reaches loss < 0.1 by step 3 in most runs",
        {"rule": "majority", "metric": "loss", "below": 0.1, "by_step": 3, "where": {"optimizer": "adam"}},
    ),
    (
        "adam above sgd on loss at step:2",
        {"rule": "stochastic_order", "metric": "loss", "first": "adam", "second": "sgd", "direction": "above"}
        | {"at": "step:2"},
    ),
    (
        "one of optimizer=adam, nag below each of sgd on loss at mean:last-50%",
        {"rule": "best_of", "metric": "loss", "candidates": ["adam", "nag"], "others": ["sgd"], "direction": "below"}
        | {"along": "optimizer", "at": "mean:last-50%"},
    ),
    (
        "loss rises with log lr in optimizer=adam",
        {
            "rule": "median_sign",
            "metric": "loss",
            "over": "log lr",
            "direction": "above",
            "where": {"optimizer": "adam"},
        },
    ),
    (
        "loss of lr=1, optimizer=sgd lies between 0.5 and 2",
        {"rule": "median_in_interval", "metric": "loss", "low": 0.5, "high": 2, "where": {"lr": 1, "optimizer": "sgd"}},
    ),
    (
        "loss and acc correlate positively in optimizer=nag",
        {"rule": "correlation", "metric": "loss", "with": "acc", "direction": "above", "where": {"optimizer": "nag"}},
    ),
    (
        "some lr reaches loss > 0.6 by step 2 in all runs in optimizer=nag",
        {"rule": "exists", "metric": "loss", "along": "lr", "above": 0.6, "by_step": 2, "where": {"optimizer": "nag"}},
    ),
]


def grid():
    """Three optimizers at two learning rates, with two metrics along three steps."""
    random = np.random.default_rng(9)
    level = {"adam": 0.3, "nag": 0.5, "sgd": 1.0}
    return pd.DataFrame(
        [
            {"optimizer": name, "lr": lr, "seed": seed, "step": step, "loss": level[name] * lr + noise, "acc": other}
            for name in level
            for lr in (1, 2)
            for seed in range(8)
            for step, noise, other in zip((1, 2, 3), *random.normal(0, 0.1, (2, 3)), strict=True)
        ]
    )


@pytest.mark.parametrize(("sentence", "fields"), SAME)
def test_a_sentence_and_its_fields_say_the_same(sentence, fields):
    by = ["optimizer", "lr"]
    one, other = bm.compare(grid(), claims=[sentence, fields], by=by).to_dict()["claims"]
    assert {**one, "id": "", "text": ""} == {**other, "id": "", "text": ""}
    assert only(grid(), other["text"], by=by).verdict == only(grid(), sentence, by=by).verdict


def test_a_claim_over_several_cells_has_a_part_for_each():
    with pytest.raises(BathymetryError, match="lr differs within optimizer=adam"):
        judged(grid(), "adam below sgd on loss")
    both = judged(grid(), "adam below sgd on loss", "loss rises with lr")
    assert [part.coordinates for part in both[0].verdict.parts] == [{"lr": "1"}, {"lr": "2"}]
    assert [part.coordinates["optimizer"] for part in both[1].verdict.parts] == ["adam", "nag", "sgd"]
    assert both[0].verdict.p == max(part.p for part in both[0].verdict.parts)


def test_a_combination_that_no_run_has_is_no_part_of_a_claim():
    adam, sgd = rows({"adam": range(5, 15)}, lr=0.1), rows({"sgd": range(10)}, lr=0.2)
    table = pd.concat([adam, sgd])
    one = only(table, "optimizer=adam reaches acc > 4 in most runs", by="lr")
    assert [part.coordinates for part in one.verdict.parts] == [{"lr": "0.1"}]
    assert one.verdict.decision == "supported"
    none = only(table, "adam above sgd on acc", by="lr")
    assert none.verdict.decision == "not tested"
    assert {part.summary for part in none.verdict.parts} == {"no run of sgd is whole", "no run of adam is whole"}


def test_p_is_adjusted_over_all_claims_of_the_page():
    claims = ["adam above sgd on acc", "most runs reach acc > 0"]
    found = bm.compare(rows(), "acc", compare="optimizer", higher_is_better=True, claims=claims)
    assert len(found.pairs) == 6
    names = ["adam-adamw", "adam-nag", "adam-sgd", "adamw-nag", "adamw-sgd", "nag-sgd"]
    own = ["adam-above-sgd-on-acc", "most-runs-reach-acc-above-0"]
    assert [one.id for one in found.claims] == [*(f"compare.{one}" for one in names), *(f"claims.{one}" for one in own)]
    assert [one.p_holm for one in found.claims] == bm.stats.holm([one.verdict.p for one in found.claims])
    assert found.stated == found.claims[6:]
    assert found.stated[0].verdict.parts[0].p == found.claims[1].verdict.p  # adam and sgd are the second pair


def test_runs_laid_out_before_give_the_same_verdicts():
    claims = [sentence for sentence, _ in SAME]
    laid = bm.runs.read(grid(), members="seed", by=["optimizer", "lr"])
    again = bm.compare(laid, claims=claims)
    assert [one.verdict for one in again.claims] == [
        one.verdict for one in judged(grid(), *claims, by=["optimizer", "lr"])
    ]


def test_runs_too_short_for_another_point_are_left_out_and_have_not_diverged():
    values = {"A": [[1.0, 2.0, 3.0]] * 8 + [[1.0]] * 2, "B": [[0.0, 0.5, 1.0]] * 10}
    laid = bm.runs.read(curves(values, metric="acc", name="net"), members="seed", compare="net")
    for runs in (laid, curves(values, metric="acc", name="net")):
        options = {"compare": "net", "higher_is_better": True, "at": "step:3", "paired": False}
        found = bm.compare(runs, "acc", claims=["A above B on acc"], **options)
        assert (found.pairs[0].members, found.pairs[0].diverged) == ((8, 10), (0, 0))
        assert found.stated[0].verdict.parts[0].p == found.pairs[0].p
        assert any("2 runs too short" in words for words in found.left_out)
    at_last = bm.runs.read(curves(values, metric="acc", name="net"), members="seed", compare="net", at="step:3")
    again = bm.compare(at_last, "acc", compare="net", higher_is_better=True, paired=False)
    assert again.pairs[0].members == (10, 10)


def test_a_metric_of_claims_alone_leaves_no_run_out_of_the_pairs():
    logged = {"acc": history([1, 3], [0.1, 0.2]), "loss": history([1, 2], [0.5, 0.5])}
    runs = [Run(f"{net}-{seed}", {"net": net, "seed": seed}, logged) for net in "AB" for seed in range(3)]
    source = Source("runs", "a tool", tuple(runs), {})
    needed, *_ = dataset(source, Grouping("seed", "net"), ["acc", "loss"], read_at("step:2"))
    results, *_ = dataset(source, Grouping("seed", "net"), ["acc"], read_at("step:3"), also=["loss"])
    assert set(results["status"].values.ravel()) == set(needed["status"].values.ravel()) == {"unknown"}
    assert set(results["acc"].values.ravel()) == {0.2}


def test_arrays_that_are_no_runs_are_refused():
    with pytest.raises(BathymetryError, match="runs = a Dataset: expected what"):
        bm.compare(rows().set_index(["optimizer", "seed"]).to_xarray(), claims=[SENTENCE])


@pytest.mark.parametrize("direction", [True, False])
def test_a_run_that_diverged_ranks_last_in_the_direction_that_is_stated(direction):
    values = {"adam": [np.nan, *np.arange(11.0, 20.0)], "sgd": [*np.arange(10.0)]}
    one = only(rows(values), "adam above sgd on acc", higher_is_better=direction, paired=False)
    worst = -1e9 if direction else 1e9
    test = brunner_munzel(-np.array([worst, *values["adam"][1:]]), -np.array(values["sgd"]))
    (part,) = one.verdict.parts
    share = part.estimate if direction else 1 - part.estimate  # "sgd below adam" where lower is better
    assert one.verdict.p == pytest.approx(test.p)
    assert (part.direction, round(part.estimate, 9)) == ("for", round(test.superiority, 9))
    assert share == pytest.approx(test.superiority if direction else 1 - test.superiority)


def test_without_a_direction_a_verdict_must_hold_wherever_diverged_runs_rank():
    values = {"adam": [*np.arange(8.0)], "sgd": [*np.arange(10.0, 16.0), np.nan, np.nan]}
    claim = "adam below sgd on acc"
    assert only(rows(values), claim, paired=False, higher_is_better=False).verdict.decision == "supported"
    open_ = only(rows(values), claim, paired=False).verdict
    last = only(rows(values), claim, paired=False, higher_is_better=True).verdict
    assert open_.p == max(last.p, only(rows(values), claim, paired=False, higher_is_better=False).verdict.p)
    assert open_.decision == last.decision == "undecided"


def test_a_run_that_never_logged_the_metric_is_left_out_and_has_not_diverged(tmp_path):
    for name, start in {"adam": 10, "sgd": 0}.items():
        for seed in range(9 + (name == "adam")):
            metric = "acc" if seed < 9 else "other"
            (tmp_path / f"optimizer={name},seed={seed}.csv").write_text(f"step,{metric}\n0,0\n1,{start + seed}\n")
    options = {"cache": False, "paired": False, "higher_is_better": True}
    found = bm.compare(tmp_path, "acc", compare="optimizer", claims=["adam above sgd on acc"], **options)
    assert found.pairs[0].superiority == 1
    assert found.pairs[0].diverged == (0, 0)
    found = bm.compare(tmp_path, claims=["adam above sgd on acc"], cache=False, paired=False)
    assert found.claims[0].verdict.parts[0].estimate == 1
    assert found.claims[0].verdict.members == 9
    assert "1 run without a value of acc at the last step left out of “adam above sgd on acc”" in found.left_out


def test_where_each_run_is_a_member_nothing_is_paired():
    one = only(rows(), "adam above sgd on acc", members="run")
    assert one.verdict.p == brunner_munzel(-SCORES["adam"], -SCORES["sgd"]).p
    with pytest.raises(BathymetryError, match=r"claims\[1\].over = lr: each run is a member by itself"):
        judged(rows({0.1: [1] * 8, 0.2: [2] * 8}, name="lr"), "acc rises with lr", members="run")


def test_a_value_that_was_filtered_out_is_refused():
    with pytest.raises(BathymetryError, match="optimizer=nag: none of the runs that are compared has it"):
        judged(rows(), "adam above nag on acc", where={"optimizer": ["adam", "sgd"]})


def test_truth_values_and_values_of_several_kinds_are_compared():
    both = {"first": [*range(10, 18)], "second": [*range(8)]}
    for first, second in ((True, False), (1, "x"), (1.5, True)):
        named = {first: both["first"], second: both["second"]}
        assert (
            only(rows(named, name="flag"), f"flag={first} above flag={second} on acc").verdict.decision == "supported"
        )


def test_true_is_not_one_and_three_is_written_in_several_ways():
    assert not is_same(True, 1)
    assert is_same("3", 3)
    assert is_same(0.10, "0.1")
    assert is_same(3, 3.0)


def test_crashed_and_unfinished_runs_are_left_out_and_the_verdict_with_them_as_worst_is_said():
    good, bad = [0.9, 0.05, 0.05, 0.05], [0.9, 0.9, 0.9, 0.9]
    table = curves({"adam": [good] * 8 + [bad, bad, bad]}, status={8: "crashed", 9: "crashed", 10: "running"})
    found = bm.compare(table, claims=["optimizer=adam reaches loss < 0.1 in most runs"])
    (one,) = found.claims
    assert (one.verdict.decision, one.verdict.members) == ("supported", 8)
    assert stats.binomtest(8, 10).pvalue > 0.05
    assert one.finding.endswith("If the 2 crashed runs counted as worst, it would be undecided.")
    assert {"2 runs crashed and left out", "1 run unfinished and left out"} <= set(found.left_out)


def test_five_members_cannot_decide():
    five = {name: own[:5] for name, own in SCORES.items()}
    for claim in (
        "adam above sgd on acc",
        "one of adam above each of sgd on acc",
        "most runs of optimizer=adam reach acc > -9",
    ):
        one = only(rows(five), claim)
        assert (one.verdict.decision, one.verdict.p) == ("undecided", None)
        assert "5 members, fewer than the 6 that a verdict needs" in " ".join(one.remarks)


def test_a_seed_without_all_values_has_no_slope_and_is_counted():
    table = rows({0.1: [1.0] * 8, 0.2: [0.5] * 7, 0.4: [0.2] * 8}, name="lr", metric="loss")
    one = only(table, "loss falls with lr")
    assert one.verdict.members == 7
    assert "over the 7 of 8 members that have a number" in one.finding


@pytest.mark.parametrize("sentence", [sentence for sentence, _ in SAME])
def test_no_sentence_of_a_finding_has_more_than_25_words(sentence):
    one = only(grid(), sentence, by=["optimizer", "lr"])
    assert all(len(words.split()) <= 25 for words in re.split(r"(?<=[.]) ", one.finding)), one.finding


NAMES = {"val loss": "die größte Rate", "on": "above", "reaches": "1", "λ,μ": "x=y", "a<b": "true", "=1": "x"}


@pytest.mark.parametrize("metric", [*NAMES, "损失"])
@pytest.mark.parametrize("setting", NAMES)
def test_any_name_can_be_quoted(metric, setting):
    if metric == setting:
        return
    value = NAMES[setting]
    table = rows({value: range(10, 18), "other": range(8)}, name=setting, metric=metric)
    fields = {"rule": "stochastic_order", "metric": metric, "along": setting, "first": value, "second": "other"}
    one = only(table, fields | {"direction": "above"})
    assert one.verdict.decision == "supported"
    assert only(table, one.text).verdict == one.verdict
    assert only(table, f'most runs of "{setting}"="{value}" reach "{metric}" > 9').verdict.decision == "supported"


@pytest.mark.parametrize(("sentence", "fields"), SAME)
def test_what_is_written_is_read_back(sentence, fields):
    assert read_sentence(written(fields), "claims[1]") == fields


SENTENCE = "adam above sgd on acc"
ORDER = {"rule": "stochastic_order", "metric": "acc", "first": "adam", "second": "sgd", "direction": "above"}
REFUSED = [
    ("adam beats sgd", "claims[1] = adam beats sgd: expected a form such as A reaches METRIC < 1 in most runs"),
    ("adam abov sgd on acc", "did you mean above?"),
    ("adam above sgd", 'after “sgd” expected "on"'),
    ("adam above sgd on val acc", 'expected "at", "by" or "in", not “acc”; put names with spaces in quotes'),
    ('adam above sgd on "acc', "is left open"),
    ("adam above sgd on acc at first", "claims[1].at = first: expected last, best, step:N or mean:last-10%"),
    ("adam above sgd on acc at last at best", 'expected "at" once'),
    ("optimizer=adam reaches acc < ten in most runs", "after “<” expected a number, not “ten”"),
    ("optimizer=adam reaches acc < 1 by step 5", 'expected "in most runs"'),
    ("optimizer=adam reaches acc < 1 by step 5 at last in most runs", "claims[1].at = last: expected at or by_step"),
    ("optimizer=adam above lr=3 on acc", "expected values of one setting, not of optimizer and lr"),
    ("adam above adam on acc", "it is compared with itself"),
    ("adam above sgd on accc", "claims[1].metric = accc: no run has it; did you mean acc?"),
    ("adan above sgd on acc", "claims[1] = adan: no setting has this value; did you mean adam?"),
    ("optimizer=adan above sgd on acc", "claims[1].first = adan: no run has it; did you mean adam?"),
    (
        "optimiser=adam above sgd on acc",
        "claims[1].along = optimiser: no run has this setting; did you mean opt",
    ),
    ("acc of optimiser=adam lies between 0 and 1", "claims[1].where = optimiser: no run has this setting"),
    (
        "acc of optimizer=adan lies between 0 and 1",
        "claims[1].where.optimizer = adan: no run has it; did",
    ),
    ("acc lies between 1 and 0", "claims[1].low = 1: expected at most high, 0"),
    ("acc rises with optimizer", "claims[1].over = optimizer: expected a setting of at least two numbers"),
    ("acc rises with log width", "all above 0; width is 0 or 1"),
    ("acc and acc correlate positively", "claims[1].with = acc: expected another metric"),
    ("some seed reaches acc < 1 in all runs", "claims[1] = seed: it tells members apart"),
    ("some optimizer reaches acc < 1 in all runs in optimizer=adam", "the claim compares its values"),
    ("adam above sgd on acc at best", "claims[1].at = best: whether higher or lower acc is best is not stated"),
    ("a " * 600 + "a", "it has 1,201 letters; expected at most 1,000"),
    ("", "claims[1] = '': expected a sentence, or fields"),
    (3, "claims[1] = 3: expected a sentence, or fields"),
    ({"rule": "majorit"}, "claims[1].rule = majorit: did you mean majority?"),
    ({"metric": "acc"}, "claims[1].rule = None: expected majority"),
    ({"rule": "majority", "metric": "acc"}, "claims[1].above = None: expected above or below, one of them"),
    ({**ORDER, "metric": None}, "claims[1].metric = None: this rule needs it"),
    ({**ORDER, "metric": 3}, "claims[1].metric = 3: expected text"),
    ({**ORDER, "metrik": "acc"}, "claims[1].metrik = acc: stochastic_order takes no such field; did you mean metric?"),
    ({**ORDER, "direction": "over"}, "claims[1].direction = over: expected above or below"),
    ({**ORDER, "first": [1]}, "claims[1].first = [1]: expected a text, a number, true or false"),
    ({**ORDER, "higher_is_better": "yes"}, "claims[1].higher_is_better = yes: expected true or false"),
    ({**ORDER, "rule": "best_of"}, "claims[1].first = adam: best_of takes no such field"),
    ({"rule": "majority", "metric": "acc", "below": "1"}, "claims[1].below = 1: expected a number"),
    ({"rule": "majority", "metric": "acc", "below": True}, "claims[1].below = True: expected a number"),
    (
        {"rule": "majority", "metric": "acc", "below": 1, "where": "adam"},
        "claims[1].where = adam: expected values by name",
    ),
    ({"rule": "majority", "metric": "acc", "below": 1, "by_step": -1}, "claims[1].by_step = -1: expected a step"),
]


@pytest.mark.parametrize(("claim", "words"), REFUSED)
def test_a_claim_that_cannot_be_read_is_refused_in_one_sentence_that_names_it(claim, words):
    table = pd.concat([rows({"adam": range(6)}, width=0, lr=3), rows({"sgd": range(6)}, width=1, lr=3)])
    with pytest.raises(BathymetryError) as refusal:
        bm.compare(table, claims=[claim], by=["width"])
    assert words in str(refusal.value)
    assert len(str(refusal.value)) < 380


def test_a_value_of_two_settings_is_ambiguous_and_compare_decides():
    table = rows({"adam": range(6, 12), "sgd": range(6)})
    table = pd.concat([table.assign(inner="adam"), table.assign(inner="sgd")])
    with pytest.raises(BathymetryError, match="several settings have it; expected optimizer=adam or inner=adam"):
        judged(table, SENTENCE)
    found = bm.compare(table, "acc", compare="optimizer", by="inner", higher_is_better=True, claims=[SENTENCE])
    assert found.stated[0].verdict.decision == "supported"


@pytest.mark.parametrize(
    ("bare", "whole"),
    [
        ("adam reaches acc > 0.5 in most runs", "optimizer=adam reaches acc > 0.5 in most runs"),
        ("adam, 3 reaches acc > 0.5 in most runs", "optimizer=adam, lr=3 reaches acc > 0.5 in most runs"),
        ("acc of adam lies between 0 and 1", "acc of optimizer=adam lies between 0 and 1"),
        ("most runs in adam reach acc > 0.5", "most runs in optimizer=adam reach acc > 0.5"),
        ("some lr reaches acc > 0 in all runs in adam", "some lr reaches acc > 0 in all runs in optimizer=adam"),
    ],
)
def test_a_value_alone_stands_for_its_setting(bare, whole):
    both = bm.compare(rows(lr=3), claims=[bare, whole]).claims
    assert both[0].verdict == both[1].verdict
    assert both[0].finding == both[1].finding


@pytest.mark.parametrize(
    ("claim", "words"),
    [
        ("acc of adan lies between 0 and 1", "no setting has this value; did you mean adam?"),
        ("acc of low lies between 0 and 1", "several settings have it; expected lr=low or w=low"),
        ("acc of adam, sgd lies between 0 and 1", "optimizer: it has two values"),
    ],
)
def test_a_value_alone_that_none_or_several_settings_have_is_refused(claim, words):
    with pytest.raises(BathymetryError) as refused:
        bm.compare(rows(lr="low", w="low"), claims=[claim])
    assert words in str(refused.value)


def test_a_claim_of_a_slope_says_that_it_is_of_a_straight_line_and_one_of_parts_when_it_is_contradicted():
    table = pd.concat([rows(lr=k) for k in (1, 2)])
    claims = ["acc rises with log lr", "some lr reaches acc > 0 in all runs"]
    slope, some = bm.compare(table, by=["optimizer"], claims=claims).claims
    assert "the slope of a straight line of acc at the last step against log lr" in slope.rule
    assert "All parts have to support it, and one that contradicts is enough." in some.rule


def test_a_direction_for_two_metrics_is_refused():
    table = rows().assign(loss=1.0)
    with pytest.raises(BathymetryError, match="the claims are about acc and loss; state it as a field"):
        judged(table, SENTENCE, "adam above sgd on loss", higher_is_better=True)


def test_what_is_no_list_of_claims_is_refused():
    for claims in ("adam above sgd on acc", {"rule": "majority"}, 3, [SENTENCE] * 101):
        with pytest.raises(BathymetryError, match="expected a list of at most 100"):
            read_claims(claims)
    assert all(isinstance(one, Claim) for one in read_claims({"claims": [SENTENCE]}))


def test_neither_pairs_nor_claims_are_refused():
    with pytest.raises(BathymetryError, match="metric = None: expected a name, or claims"):
        bm.compare(rows())
    with pytest.raises(BathymetryError, match="compare = None: expected a name"):
        bm.compare(rows(), "acc", higher_is_better=True, claims=[SENTENCE])


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    rows().to_csv("runs.csv", index=False)
    return tmp_path


def test_the_command_decides_the_claims_of_a_file(files, capsys):
    (files / "claims.yaml").write_text(
        "- adam above sgd on acc\n- {rule: majority, metric: acc, above: -9, where: {optimizer: sgd}, text: It runs.}\n"
    )
    words = ["compare", "runs.csv", "--members", "seed", "--claims", "claims.yaml", "--no-page"]
    assert main([*words, "--expect", "supported"]) == 0
    printed = capsys.readouterr().out
    assert "adam above sgd on acc. Supported" in printed
    assert "It runs. Supported" in printed
    assert max(map(len, printed.splitlines())) <= 100
    assert main([*words, "--expect", "contradicted"]) == 1
    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["verdict"] for one in found["claims"]] == ["supported", "supported"]
    wins = int((SCORES["adam"] > SCORES["sgd"]).sum())
    assert found["claims"][0]["p"] == pytest.approx(stats.binomtest(wins, SEEDS).pvalue)
    pairs = ["--metric", "acc", "--higher-is-better", "--compare", "optimizer", "--json"]
    assert main([*words, *pairs]) == 0
    assert len(json.loads(capsys.readouterr().out)["claims"]) == 8


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("- adam above sgd on accc", "claims[1].metric = accc: no run has it; did you mean acc?"),
        ("", "it holds no claims"),
        ("- &a [*a]", "no aliases"),
        ("- !!python/object/apply:os.system [id]", "it has the tag"),
        ("{claims: 3}", "claims = 3: expected a list"),
        ("- a: b: c", "it is not valid YAML (line 1"),
    ],
)
def test_a_file_that_holds_no_claims_ends_with_status_2(files, capsys, content, words):
    (files / "claims.yaml").write_text(content)
    assert main(["compare", "runs.csv", "--members", "seed", "--claims", "claims.yaml"]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_a_file_of_claims_that_is_not_there_ends_with_status_2(files, capsys):
    assert main(["compare", "runs.csv", "--members", "seed", "--claims", "claim.yaml"]) == 2
    assert "claims = claim.yaml: there is no such file" in capsys.readouterr().err
    assert main(["compare", "runs.csv", "--members", "seed", "--metric", "acc", "--claims", "c.yaml"]) == 2
    assert "--metric, --compare: expected both of them or neither, next to --claims" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("better", "words"),
    [
        ("first", "One of 12 is clearly above each of 12 others."),
        ("last", "One of the 12 others is clearly above each of 12."),
        ("none", "None of 12 is clearly above each of 12 others."),
    ],
)
def test_a_finding_about_many_candidates_counts_them(better, words):
    names = [f"n{k}" for k in range(24)]
    random = np.random.default_rng(11)
    values = {name: random.normal(0, 1, SEEDS) for name in names}
    if better != "none":
        values[names[0] if better == "first" else names[-1]] = np.arange(100.0, 110.0)
    claim = f"one of {', '.join(names[:12])} above each of {', '.join(names[12:])} on acc"
    one = only(rows(values), claim, paired=False)
    assert one.finding.startswith(f"{words} The pair that decides has ")
