from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import combinations, product

import numpy as np
import torch
import xarray as xr
from pydantic import Field

from bathymetry import probes, stats, training
from bathymetry.charts import Reference, attrs, dots, lines, predictions
from bathymetry.charts.figure import Panel
from bathymetry.claims import claim, majority, stochastic_order
from bathymetry.core.errors import InputError
from bathymetry.core.showing import joined
from bathymetry.data import functions
from bathymetry.models.mlp import parameter_count
from bathymetry.stats import verdict
from bathymetry.stats.wording import number
from bathymetry.studies.arrays import each, listed
from bathymetry.studies.base import Drawn, Groups, Planned, figure
from bathymetry.studies.families import DEPTHS, EQUAL, FunctionStudy, unequal_parameters
from bathymetry.studies.settings import Distinct, Networks, network_names

NETWORKS: Networks = ((250,), (32, 16, 9), (24, 16, 10, 8, 4))
LEARNED = ("cos", "arcsinh")
FITTED = 0.01  # of the target's variance
GRID = 401
fitted_first = partial(stochastic_order, "epochs to fit", relation="before")


@dataclass(frozen=True)
class Prediction:
    """Every member's predictions on a grid, (member, x)."""

    low: float
    high: float

    def __call__(self, state: training.TrainingState) -> torch.Tensor:
        grid = torch.linspace(self.low, self.high, GRID, dtype=torch.float64)[:, None]
        return state.outputs(grid.to(state.parameters.flat))[..., 0]


@dataclass(frozen=True)
class DeadShare:
    """The share of hidden units that are zero for every training input."""

    inputs: torch.Tensor

    def __call__(self, state: training.TrainingState) -> torch.Tensor:
        return probes.dead_units(state.parameters.views, self.inputs).share


@dataclass(frozen=True)
class LinearPieces:
    """The number of linear pieces of the learned function."""

    interval: tuple[float, float] | None  # of inputs; None for the whole line

    def __call__(self, state: training.TrainingState) -> torch.Tensor:
        return probes.linear_regions(state.parameters.views, interval=self.interval).count


class DepthFunction(FunctionStudy):
    """At equal parameters, do deep networks fit a function better than shallow ones?

    Networks of different depths, by default with about 750 parameters each, are trained on functions of one variable by
    full-batch Adam. A member fits once its training loss is below 1 % of the target's variance.
    """

    chapter = "Part 1: depth"
    presets = {"quick": {"members": 6}, "smoke": {"members": 6, "samples": 100, "epochs": 40}}
    # claims with numbers name the functions and networks that they are about
    ignored_by_claims = FunctionStudy.ignored_by_claims | {"functions", "networks"}
    variables = {
        "prediction": attrs("prediction"),
        "target": attrs("true function"),
        "target_variance": attrs("variance of the targets", "log"),
        "straight_line_r2": attrs("share of the variance that a straight line explains"),
        "epochs_to_fit": attrs("epochs to fit", "log"),
        "dead_share": attrs("share of dead hidden units"),
        "linear_pieces": attrs("linear pieces on the interval of the inputs", "log"),
        "linear_pieces_line": attrs("linear pieces on the whole line", "log"),
        "linear_pieces_bound": attrs("upper bound of the linear pieces on the whole line", "log"),
        "depth": attrs("hidden layers"),
    }

    functions: Distinct[tuple[str, ...]] = Field(LEARNED, description="functions to learn: names or expressions in x")
    networks: Distinct[Networks] = Field(NETWORKS, description="hidden widths of each network, for example 250 32,16,9")

    def plan(self) -> Planned:
        known: dict[str, str] = {}
        for function in self.functions:
            examples = self.examples(function)
            if (same := known.setdefault(examples.digest, function)) != function:
                raise InputError("functions", function, f"it is the same function as {same}; name each only once")
            if not float(examples.y_train.var(correction=0)) > 0:
                raise InputError("functions", function, "it is constant on the inputs; expected one that varies")
            measurements = {
                "prediction": self.at_end(Prediction(self.low, self.high), "x"),
                "dead_share": self.at_end(DeadShare(examples.x_train)),
                "linear_pieces": self.at_end(LinearPieces((self.low, self.high))),
                "linear_pieces_line": self.at_end(LinearPieces(None)),
            }
            for name, hidden in zip(network_names(self.networks, NETWORKS, DEPTHS), self.networks, strict=True):
                at = {"function": function, "network": name}
                yield self.ensemble(at, self.mlp(hidden), data=examples, measurements=measurements)
        yield from unequal_parameters([(1, *hidden, 1) for hidden in self.networks])

    def derive(self, results: Groups) -> Groups:
        grid = np.linspace(self.low, self.high, GRID)
        draws = [self.examples(function) for function in self.functions]
        arrays = [[one.double().numpy().ravel() for one in (some.x_train, some.y_train, some.y_test)] for some in draws]
        r = results["main"].isel(last_epoch=-1, drop=True)
        r = r.assign_coords(
            x=grid,
            formula=("function", [f"{one}(x)" if one in functions.FUNCTIONS else one for one in self.functions]),
            depth=("network", [len(hidden) for hidden in self.networks]),
            parameters=("network", [parameter_count((1, *hidden, 1)) for hidden in self.networks]),
        ).assign(
            target=(("function", "x"), [functions.evaluate(one, grid) for one in self.functions]),
            target_variance=(("function", "split"), [[train.var(), test.var()] for _, train, test in arrays]),
            straight_line_r2=("function", [np.corrcoef(x, train)[0, 1] ** 2 for x, train, _ in arrays]),
            linear_pieces_bound=("network", [float(np.prod(np.array(hidden) + 1.0)) for hidden in self.networks]),
        )
        train = r[["loss", "target_variance"]].sel(split="train").reset_coords(["split", "examples"], drop=True)
        first = r["epoch"].where(train["loss"] < FITTED * train["target_variance"]).min("epoch").fillna(np.inf)
        return {"main": r.assign(epochs_to_fit=first.transpose("function", "network", "member"))}

    @claim(
        "All networks converge on both functions, to 1 % of the variance (each network, in most trainings).",
        majority("members whose training loss is below 1 % of the target's variance by epoch 1,000").for_each(
            function=LEARNED, network=DEPTHS
        ),
        absolute=True,
    )
    def a(self, r: xr.Dataset) -> xr.DataArray:
        return r["epochs_to_fit"] <= 1000

    @claim(
        "On arcsinh all networks converge at about 250 epochs (each network, in most trainings).",
        majority("members that fit by epoch 275").for_each(function=["arcsinh"], network=DEPTHS),
        absolute=True,
    )
    def b(self, r: xr.Dataset) -> xr.DataArray:
        return r["epochs_to_fit"] <= 275

    @claim(
        "The cosine takes longer to learn than arcsinh.",
        fitted_first("arcsinh", "cos", dim="function").for_each(network=DEPTHS, own=True),
    )
    def c(self, r: xr.Dataset) -> xr.DataArray:
        return r["epochs_to_fit"]

    @claim(
        "On arcsinh the deep network converges faster than the shallow one.",
        fitted_first("deep", "shallow", dim="network").for_each(function=["arcsinh"]),
    )
    def d(self, r: xr.Dataset) -> xr.DataArray:
        return r["epochs_to_fit"]

    @claim(
        "On the cosine the shallow network converges faster than the deep one.",
        fitted_first("shallow", "deep", dim="network").for_each(function=["cos"]),
    )
    def e(self, r: xr.Dataset) -> xr.DataArray:
        return r["epochs_to_fit"]

    @claim(
        "Every network predicts unseen inputs well (each network, in most trainings).",
        majority("members whose test loss is below 1 % of the variance at epoch 1,000").for_each(
            function=LEARNED, network=DEPTHS
        ),
        absolute=True,
    )
    def f(self, r: xr.Dataset) -> xr.DataArray:
        return r["loss"].sel(split="test", epoch=1000) < FITTED * r["target_variance"].sel(split="test")

    @claim(
        "The more linear function is learned faster.",
        stochastic_order(
            "epochs to fit", "the larger straight-line R²", "the smaller", dim="function", relation="before"
        ).for_each(network=DEPTHS, own=True),
    )
    def g(self, r: xr.Dataset) -> Iterator[stats.Part]:
        r2 = r["straight_line_r2"].to_series().sort_values(ascending=False, kind="stable")
        if r2.nunique() < 2:
            yield verdict.not_run("this run has no two functions of which one is more linear", {})
        for straighter, other in combinations(r2.index, 2):
            if r2[straighter] > r2[other]:
                rule = fitted_first(straighter, other, dim="function")
                pair = {"functions": f"{straighter} before {other}"} if len(r2) > 2 else {}
                yield from rule.for_each(network=DEPTHS, own=True)(r["epochs_to_fit"], **pair)

    @claim(
        "The deepest networks end with a lower test loss than the shallowest (ours, not from the homework report).",
        stochastic_order("last test loss", "most hidden layers", "fewest", dim="network", relation="below").for_each(
            function=None
        ),
    )
    def h(self, r: xr.Dataset) -> Iterator[stats.Part]:
        depth = r["depth"].to_series()
        if depth.nunique() < 2:
            yield verdict.not_run("all networks of this run have the same depth", {})
            return
        words = "{} with {:,} parameters" if r["parameters"].max() > EQUAL * r["parameters"].min() else "{}"
        called = {name: words.format(name, int(count)) for name, count in each(r["parameters"], "network")}
        pairs = list(product(depth.index[depth == depth.max()], depth.index[depth == depth.min()]))
        last = r["loss"].sel(split="test").isel(epoch=-1).assign_coords(network=list(called.values()))
        for (function, losses), (deep, shallow) in product(each(last, "function"), pairs):
            rule = stochastic_order("test loss", called[deep], called[shallow], dim="network", relation="below")
            pair = {"networks": f"{deep} and {shallow}"} if len(pairs) > 1 else {}
            yield from rule(losses, function=function, **pair)

    answered_by = ("epochs_to_fit", "loss", 0)

    @figure("Training loss on {formula}", number={"cos": 1, "arcsinh": 2}, each="function")
    def loss(self, r: xr.Dataset) -> Drawn:
        """The loss axis is logarithmic. A network fits once its loss is below 1 % of the variance of the targets, which
        is the loss of predicting their mean.
        """
        loss, variance = r["loss"].sel(split="train"), float(r["target_variance"].sel(split="train"))
        fits = Reference(FITTED * variance, "fits below this line (1 % of variance)")
        constant = Reference(variance, "predicting the mean", at="end")
        panels = lines(loss, "epoch", "network", references=[constant, fits], centre="median", interval="end")
        final = joined([f"{number(one, 1)} ({name})" for name, one in each(loss[..., -1].median("member"), "network")])
        return panels, f"After {self.epochs:,} epochs the median training loss is {final}."

    @figure("Predictions of each network", number={"arcsinh": 3, "cos": 4}, main_finding=True)
    def prediction(self, r: xr.Dataset) -> Drawn:
        """The mean of networks that fit and networks that do not would be a curve that no network has, so the strong
        line is the median at each input.
        """
        panels, words = list[Panel](), []
        for function in sorted(r["function"].values.tolist()):
            one = r.sel(function=function)
            formula, truth = one["formula"].item(), one["target"]
            margin = 0.35 * float(truth.max() - truth.min() or 1)
            domain = float(truth.min()) - margin, float(truth.max()) + margin
            heads = [f"{formula}, {name}" for name in one["network"].values]
            shown = one["prediction"].assign_coords(network=heads)
            panels += predictions(shown, truth, facet="network", domain=domain, height=200)
            errors = abs(one["prediction"] - truth).median(("member", "x"))
            words.append(f"{number(errors.min(), 1)} to {number(errors.max(), 1)} on {formula}")
        return panels, f"The median absolute error of a network is {joined(words)}."

    @figure("Epochs until each network fits", main_finding=True)
    def epochs_to_fit(self, r: xr.Dataset) -> Drawn:
        """One dot per member. Those that never fit are open dots at the right edge; in the median they count as later
        than all others.
        """
        epochs, first = r["epochs_to_fit"], float(r["epochs_to_fit"].min())
        domain = (max(first / 1.3, 0.7) if np.isfinite(first) else 1.0, max(2.0, float(self.epochs)))
        (function, fits), *others = each((epochs < np.inf).sum("member"), "formula")
        said = f"{listed(fits, 'network', '{:.0f}')} of {epochs.sizes['member']} networks fit {function}"
        said += "".join(f"; {joined([str(int(one)) for one in also])} fit {other}" for other, also in others)
        panels = dots(epochs, "network", facet="formula", domain=domain, never="never fit", centre="median")
        return panels, f"Within {self.epochs:,} epochs {said}."

    @figure("Share of dead hidden units")
    def dead_units(self, r: xr.Dataset) -> Drawn:
        """A dead unit is zero for every training input, so no gradient reaches it. One dot per member."""
        share = (100 * r["dead_share"]).assign_attrs(attrs("dead hidden units", units="%"))
        said = listed(share.median(("function", "member")), "network", "{:.0f} %")
        ends, whole = (0.0, max(1.0, 1.1 * float(share.max()))), (0.0, 100.0)
        panels = dots(share, "network", facet="formula", domain=ends, possible=whole, centre="median")
        return panels, f"In the median network {said} of the hidden units are zero for every training input."

    @figure("Linear pieces of each learned function")
    def linear_pieces(self, r: xr.Dataset) -> Drawn:
        """A ReLU network of one input is piecewise linear; its pieces on the interval of inputs are counted exactly. At
        most as many are possible as the product over the layers of one more than their units.
        """
        interval = f"({self.low:g}, {self.high:g})".replace("-", "−")
        names = [f"{name}, at most {int(most):,}" for name, most in each(r["linear_pieces_bound"], "network")]
        pieces = r["linear_pieces"].assign_attrs(attrs(f"linear pieces on {interval}"))
        ends, counts = (0.0, 1.05 * float(pieces.max())), pieces.median(("function", "member"))
        panels = dots(pieces.assign_coords(network=names), "network", facet="formula", domain=ends, centre="median")
        return panels, f"On {interval} the median number of linear pieces is {listed(counts, 'network', '{:.0f}')}."
