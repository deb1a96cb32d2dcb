"""Claims of `depth-function`, decided on results that are written by hand so that the answers are known."""

import numpy as np
import pytest
import xarray as xr

import bathymetry as bm
from bathymetry.studies.depth_function import DepthFunction

NETWORKS = ("shallow", "middle", "deep")
COUNTS = ("dead_share", "linear_pieces", "linear_pieces_line")


def made(fit_at, epochs=1500, members=8, networks=NETWORKS, widths=None, last=None, **settings):
    """A study, and results in which networks fit functions at these epochs, member m one epoch later each."""
    if widths is not None:
        settings["networks"] = widths
    study = DepthFunction.preset("full", members=members, epochs=epochs, **settings)
    epoch = np.arange(epochs + 1)
    functions = list(study.functions)
    times = np.array([[[fit_at[f][n] + m for m in range(members)] for n in networks] for f in functions], float)
    loss = np.where(epoch >= times[..., None], 0.001, 1.0)
    test_loss = loss.copy()
    if last is not None:  # the test loss at the end, by network, members a hair apart
        test_loss[..., -1] = np.array([last[n] for n in networks])[:, None] + 1e-6 * np.arange(members)
    records = xr.Dataset(
        {
            "loss": (("function", "network", "split", "member", "epoch"), np.stack([loss, test_loss], axis=2)),
            "prediction": (("function", "network", "member", "last_epoch", "x"), np.zeros((*times.shape, 1, 401))),
        },
        {
            "function": functions,
            "network": list(networks),
            "split": ["train", "test"],
            "examples": ("split", [study.samples] * 2),
            "member": range(members),
            "epoch": epoch,
            "last_epoch": [epochs],
        },
    )
    return study, study.described(study.derive({"main": records}))["main"]


def judged(study, main):
    results = xr.DataTree.from_dict({"main": main})
    results.attrs = {"data": {}}
    return {claim.id[-1]: claim for claim in study.judge(results)}


def verdicts(made):
    return {letter: claim.verdict.decision for letter, claim in judged(*made).items()}


def test_the_epochs_at_which_members_fit_are_found():
    results = made({"cos": dict.fromkeys(NETWORKS, 700), "arcsinh": dict.fromkeys(NETWORKS, 1495)})[1]
    assert results["epochs_to_fit"].sel(function="cos", network="deep").values.tolist() == list(range(700, 708))
    late = results["epochs_to_fit"].sel(function="arcsinh", network="deep").values
    assert late.tolist() == [1495, 1496, 1497, 1498, 1499, 1500, np.inf, np.inf]


def test_claims_that_hold_are_supported():
    fit_at = {
        "cos": {"shallow": 500, "middle": 600, "deep": 700},
        "arcsinh": {"shallow": 260, "middle": 220, "deep": 200},
    }
    ends = {"shallow": 0.003, "middle": 0.002, "deep": 0.001}
    assert verdicts(made(fit_at, last=ends)) == dict.fromkeys("abcdefgh", "supported")


def test_claims_that_do_not_hold_are_contradicted():
    late = {
        "cos": {"shallow": 1300, "middle": 1200, "deep": 1100},
        "arcsinh": {"shallow": 1300, "middle": 1400, "deep": 1450},
    }
    found = verdicts(made(late))
    assert {letter: found[letter] for letter in "abcdefg"} == {
        "a": "contradicted", "b": "contradicted", "c": "contradicted", "d": "contradicted", "e": "contradicted",
        "f": "contradicted", "g": "contradicted",
    }  # fmt: skip


def test_one_network_that_does_not_is_enough_to_contradict_and_one_that_is_open_to_leave_it_open():
    fit_at = {"cos": {"shallow": 500, "middle": 2000, "deep": 700}, "arcsinh": dict.fromkeys(NETWORKS, 200)}
    assert verdicts(made(fit_at))["a"] == "contradicted"
    fit_at["cos"]["middle"] = 997
    assert verdicts(made(fit_at))["a"] == "undecided"


@pytest.mark.parametrize("change", [{"learning_rate": 0.01}, {"samples": 500}, {"high": 9.0}])
def test_claims_with_numbers_are_not_judged_on_another_schedule_or_data(change):
    fit_at = {"cos": dict.fromkeys(NETWORKS, 500), "arcsinh": dict.fromkeys(NETWORKS, 200)}
    found = verdicts(made(fit_at, **change))
    assert [found[letter] for letter in "abf"] == ["not tested"] * 3
    assert found["c"] == "supported"


def test_the_deepest_are_held_against_the_shallowest_pair_by_pair_with_their_parameters():
    names, widths = ("4", "6", "3-3", "2-2"), ((4,), (6,), (3, 3), (2, 2))
    fit_at = {"cos": dict.fromkeys(names, 9)}
    last = {"4": 0.3, "6": 0.2, "3-3": 0.1, "2-2": 0.25}
    results = made(fit_at, epochs=20, networks=names, widths=widths, last=last, functions=("cos",))
    verdict = judged(*results)["h"].verdict
    outcome = {part.coordinates["networks"]: part.decision for part in verdict.parts}
    assert outcome == {
        "3-3 and 4": "supported", "3-3 and 6": "supported", "2-2 and 4": "supported", "2-2 and 6": "contradicted",
    }  # fmt: skip
    assert verdict.decision == "contradicted"
    assert verdict.p == pytest.approx(4 * 2 / 12870)
    assert verdict.parts[0].summary.startswith("3-3 with 22 parameters below 4 with 13 parameters in 100 % of pairs")


def test_networks_of_one_depth_are_not_compared_by_depth():
    results = made({"cos": {"4": 9, "6": 9}}, epochs=20, networks=("4", "6"), functions=("cos",), widths=((4,), (6,)))
    claim = judged(*results)["h"]
    assert claim.verdict.decision == "not tested"
    assert claim.finding == "All networks of this run have the same depth."


def test_claims_of_which_only_some_networks_were_run_are_not_supported_but_can_be_contradicted():
    few = {"networks": ("shallow", "middle"), "widths": ((250,), (32, 16, 9))}
    good = {"cos": {"shallow": 500, "middle": 600}, "arcsinh": {"shallow": 200, "middle": 220}}
    found = judged(*made(good, **few))
    assert [found[letter].verdict.decision for letter in "abcfg"] == ["undecided"] * 5
    assert "not tested for deep (was not run)" in found["c"].verdict.reason
    late = {"cos": {"shallow": 200, "middle": 220}, "arcsinh": {"shallow": 500, "middle": 600}}
    assert verdicts(made(late, **few))["c"] == "contradicted"


def test_networks_of_ones_own_are_what_a_claim_without_a_mark_is_about():
    own = {"networks": ("8", "5-5"), "widths": ((8,), (5, 5))}
    fit_at = {"cos": {"8": 500, "5-5": 600}, "arcsinh": {"8": 200, "5-5": 220}}
    found = judged(*made(fit_at, **own))
    assert {letter: found[letter].verdict.decision for letter in "abcdefg"} == {
        "a": "not tested", "b": "not tested", "c": "supported", "d": "not tested", "e": "not tested",
        "f": "not tested", "g": "supported",
    }  # fmt: skip
    assert found["d"].finding == "This run did not include networks deep and shallow."


def test_other_networks_do_not_change_a_claim_with_a_number():
    more = {"networks": (*NETWORKS, "8"), "widths": ((250,), (32, 16, 9), (24, 16, 10, 8, 4), (8,))}
    fit_at = {"cos": dict.fromkeys(NETWORKS, 500) | {"8": 1400}, "arcsinh": dict.fromkeys(NETWORKS, 200) | {"8": 1400}}
    found = verdicts(made(fit_at, **more))
    assert (found["a"], found["b"], found["f"]) == ("supported",) * 3


def test_a_member_that_diverged_fails_even_where_it_had_fitted_before():
    fit_at = {"cos": dict.fromkeys(NETWORKS, 500), "arcsinh": dict.fromkeys(NETWORKS, 200)}
    study, main = made(fit_at, members=6)
    gone = np.zeros((2, 3, 6), bool)
    gone[1, 2, 0] = True
    verdict = judged(study, main.assign(diverged=(("function", "network", "member"), gone)))["b"].verdict
    assert [round(part.estimate * 6) for part in verdict.parts] == [6, 6, 5]


def test_fewer_than_six_members_decide_nothing():
    fit_at = {"cos": dict.fromkeys(NETWORKS, 500), "arcsinh": dict.fromkeys(NETWORKS, 200)}
    found = judged(*made(fit_at, members=5)).values()
    assert {(one.verdict.decision, one.verdict.p) for one in found} == {("undecided", None)}


def test_functions_that_were_not_run_leave_their_claims_unjudged():
    fit_at = {"sin(3*x)/x": dict.fromkeys(NETWORKS, 500), "x": dict.fromkeys(NETWORKS, 100)}
    found = verdicts(made(fit_at, functions=("sin(3*x)/x", "x"), low=1.0))
    assert [found[letter] for letter in "cde"] == ["not tested"] * 3
    assert found["g"] == "supported"
    assert found["h"] != "not tested"


def test_the_straight_line_and_the_variance_are_those_of_the_training_examples():
    _, results = made({"x": dict.fromkeys(NETWORKS, 5)}, functions=("x",), epochs=10)
    data = bm.data.function("x")
    assert results["straight_line_r2"].item() == pytest.approx(1.0, abs=1e-12)
    assert results["target_variance"].sel(split="train").item() == pytest.approx(np.var(data.y_train.double().numpy()))
    assert results["parameters"].values.tolist() == [751, 755, 747]
    assert results["linear_pieces_bound"].values.tolist() == [251, 33 * 17 * 10, 25 * 17 * 11 * 9 * 5]


def test_figures_are_drawn_for_any_function_and_say_their_numbers():
    fit_at = {"x**2": dict.fromkeys(NETWORKS, 2), "cos": dict.fromkeys(NETWORKS, 2)}
    study, main = made(fit_at, functions=("x**2", "cos"), epochs=10)
    shares = (("function", "network", "member"), np.full((2, 3, 8), 0.5))
    main = study.described({"main": main.assign(dict.fromkeys(COUNTS, shares))})["main"]
    figures = [one for _, one in study.draw(xr.DataTree.from_dict({"main": main}))]
    assert [figure.number for figure in figures[:2]] == [1, 4]
    names = ["01-loss-cos", "04-prediction", "loss-function-1", "epochs-to-fit", "dead-units", "linear-pieces"]
    assert [figure.name for figure in figures] == names
    assert "0.001 (shallow" in figures[0].finding
    heads = [f"{function}, {network}" for function in ("cos(x)", "x**2") for network in NETWORKS]
    assert [panel.title for panel in figures[1].panels] == heads
    assert figures[2].title == "Training loss on x**2"
    fitted = "8 (shallow), 8 (middle) and 8 (deep) of 8 networks fit x**2; 8, 8 and 8 fit cos(x)"
    assert figures[3].finding == f"Within 10 epochs {fitted}."
    assert all(len(figure.finding.split()) <= 25 for figure in figures)


def test_stored_results_are_judged_and_drawn_without_their_examples(monkeypatch):
    fit_at = {"cos": dict.fromkeys(NETWORKS, 2), "arcsinh": dict.fromkeys(NETWORKS, 2)}
    study, main = made(fit_at, epochs=10)
    monkeypatch.setattr(DepthFunction, "examples", None)
    assert len(judged(study, main)) == 8
    assert study.loss(main.sel(function="cos"))[1].startswith(
        "After 10 epochs the median training loss is 0.001 (shallow)"
    )


def test_a_function_without_a_value_somewhere_is_learned_and_drawn_with_a_gap(tmp_path):
    run = bm.run_study(
        "depth-function", preset="smoke", out=tmp_path, functions=("sin(3*x)/x",), networks=((8,),), epochs=5
    )
    target = run.results["main/target"].sel(function="sin(3*x)/x")
    assert target.isnull().sum() == 1
    assert bool(target.sel(x=0.0, method="nearest").isnull())
    assert [figure.name for figure in run.figures]
