"""At equal parameters, do deep networks fit a function better than shallow ones?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from bathymetry import data, models, probes, stats, training
from bathymetry.core.errors import InputError
from bathymetry.studies.legacy import Claim, Study, StudySettings, later, missing_part, parts_of, without_diverged
from bathymetry.studies.plan import Plan, PlannedEnsemble
from bathymetry.studies.settings import Distinct, Widths
from bathymetry.studies.wording import network_names, unequal_parameters

if TYPE_CHECKING:
    import torch
    import xarray as xr

_NETWORKS: tuple[tuple[int, ...], ...] = ((250,), (32, 16, 9), (24, 16, 10, 8, 4))
_WORDS = ("shallow", "middle", "deep")
_FUNCTIONS = ("cos", "arcsinh")
_FITTED = 0.01  # of the target's variance
_GRID = 401


class Settings(StudySettings):
    """What can be varied."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"members": 6},
        "smoke": {"members": 6, "samples": 100, "epochs": 40},
    }

    # claims of the protocol's own functions and networks take out those that they are about
    free: ClassVar[frozenset[str]] = StudySettings.free | {"functions", "networks"}

    functions: Distinct[tuple[str, ...]] = Field(
        _FUNCTIONS, min_length=1, description="functions to learn, by name or as expressions in x"
    )
    networks: Distinct[tuple[Widths, ...]] = Field(
        _NETWORKS, min_length=1, description="hidden widths of each network, for example 250 32,16,9"
    )
    low: float = Field(-10.0, description="lower end of the inputs")
    high: float = Field(10.0, description="upper end of the inputs")
    samples: PositiveInt = Field(1000, description="training inputs, and as many for testing")
    learning_rate: PositiveFloat = Field(1e-3, description="of Adam")
    epochs: PositiveInt = Field(1500, description="steps on the full batch")

    @model_validator(mode="after")
    def _interval(self) -> "Settings":
        if not self.low < self.high:
            raise ValueError(f"low = {self.low:g} must be below high = {self.high:g}")
        return self


@dataclass(frozen=True)
class Prediction:
    """What every member answers on a grid."""

    low: float
    high: float

    def __call__(self, moment: "training.TrainingState") -> "torch.Tensor":
        """Ask every member.

        Args:
            moment: The moment of training.

        Returns:
            Answers, (member, x).
        """
        import torch

        grid = torch.linspace(self.low, self.high, _GRID, dtype=torch.float64)[:, None]
        return moment.outputs(grid.to(moment.parameters.flat))[..., 0]


@dataclass(frozen=True)
class DeadShare:
    """The share of hidden units that are zero for every training input."""

    inputs: "torch.Tensor"

    def __call__(self, moment: "training.TrainingState") -> "torch.Tensor":
        """Count them.

        Args:
            moment: The moment of training.

        Returns:
            A share for each member.
        """
        return probes.dead_units(moment.parameters.views, self.inputs).share


@dataclass(frozen=True)
class LinearPieces:
    """The number of straight pieces that the learned function is made of."""

    interval: tuple[float, float] | None  # between which inputs; None for the whole line

    def __call__(self, moment: "training.TrainingState") -> "torch.Tensor":
        """Count them.

        Args:
            moment: The moment of training.

        Returns:
            A count for each member.
        """
        return probes.linear_regions(moment.parameters.views, interval=self.interval).count


def plan(settings: Settings) -> Plan:
    """Plan one ensemble for each function and network.

    Args:
        settings: The study's settings.

    Returns:
        The plan.

    Raises:
        InputError: If two of the functions are the same, or one is constant.
    """
    names = network_names(settings.networks, _NETWORKS, _WORDS)
    ensembles, sources = [], {}
    digests: dict[str, str] = {}
    for function in settings.functions:
        examples = data.function(function, settings.low, settings.high, settings.samples, settings.seed)
        if alike := [one for one, digest in digests.items() if digest == examples.digest]:
            raise InputError("functions", function, f"it is the same function as {alike[0]}; name each only once")
        digests[function] = examples.digest
        if not float(examples.y_train.var()) > 0:
            remedy = "it is constant on the interval, and there is nothing to fit; expected a function that varies"
            raise InputError("functions", function, remedy)
        sources[function] = examples.origin
        at_the_end = partial(training.Measurement, epochs=(settings.epochs,), dimension="last_epoch")
        measurements = {
            "prediction": at_the_end(Prediction(settings.low, settings.high), axes=("x",)),
            "dead_share": at_the_end(DeadShare(examples.x_train)),
            "linear_pieces": at_the_end(LinearPieces((settings.low, settings.high))),
            "linear_pieces_line": at_the_end(LinearPieces(None)),
        }
        for name, hidden in zip(names, settings.networks, strict=True):
            config = training.TrainingConfig(
                network=models.MLPConfig((1, *hidden, 1)),
                data=examples,
                seed=settings.seed,
                optimizer=training.Adam(lr=settings.learning_rate),
                epochs=settings.epochs,
                measurements=measurements,
            )
            ensembles.append(PlannedEnsemble({"function": function, "network": name}, config, range(settings.members)))
    notes = unequal_parameters([(1, *hidden, 1) for hidden in settings.networks])
    return Plan(tuple(ensembles), notes=notes, data=sources)


def derive(settings: Settings, records: "xr.DataTree") -> "xr.DataTree":
    """Add what follows from the records: when each member fits, the truth on the grid, how straight it is.

    Args:
        settings: The study's settings.
        records: What the ensembles recorded.

    Returns:
        The results.
    """
    dataset = records.to_dataset().isel(last_epoch=-1, drop=True)
    functions = list(settings.functions)
    draws = [data.function(one, settings.low, settings.high, settings.samples, settings.seed) for one in functions]
    grid = np.linspace(settings.low, settings.high, _GRID)
    halves = [[examples.y_train.double().numpy(), examples.y_test.double().numpy()] for examples in draws]
    variance = [[float(half.var()) for half in both] for both in halves]
    straight = [
        np.corrcoef(one.x_train.double().numpy().ravel(), both[0].ravel())[0, 1] ** 2 if spread[0] > 0 else 1.0
        for one, both, spread in zip(draws, halves, variance, strict=True)
    ]
    hidden = [np.array(widths) for widths in settings.networks]
    results = dataset.assign_coords(x=grid, split=["train", "test"]).assign(
        target=(("function", "x"), [data.evaluate(one, grid, allow_nan=True) for one in functions]),
        target_variance=(("function", "split"), variance),
        straight_line_r2=("function", straight),
        parameter_count=("network", [models.parameter_count((1, *widths, 1)) for widths in settings.networks]),
        linear_pieces_bound=("network", [float(np.prod(widths + 1.0)) for widths in hidden]),
    )
    fitted = results["train_loss"] < _FITTED * results["target_variance"].sel(split="train")
    first = results["epoch"].where(fitted).min("epoch")
    results["epochs_to_fit"] = first.fillna(np.inf).transpose("function", "network", "member").drop_attrs()
    records.dataset = results
    return records


def _times(results: "xr.DataTree") -> "xr.Dataset":
    return without_diverged(results.to_dataset())


def _fits_by(epoch: int, *functions: str) -> "Callable[[xr.DataTree], Sequence[stats.Part]]":
    def judge(one: "xr.Dataset", at: dict[str, str]) -> "stats.Part":
        return stats.majority((one["epochs_to_fit"] <= epoch).values, coordinates=at)

    return lambda results: parts_of(
        _times(results), {"function": functions, "network": _WORDS}, judge, own=False
    )  # fmt: skip


def _predicts_well(results: "xr.DataTree") -> "Sequence[stats.Part]":
    def judge(one: "xr.Dataset", at: dict[str, str]) -> "stats.Part":
        loss, variance = one["test_loss"].sel(epoch=1000), one["target_variance"].sel(split="test")
        return stats.majority((loss < _FITTED * variance).values, coordinates=at)

    return parts_of(_times(results), {"function": _FUNCTIONS, "network": _WORDS}, judge, own=False)


def _sooner(results: "xr.DataTree", sooner: str, later: str, **pair: str) -> "list[stats.Part]":
    # One part a network: whether members fit the one function sooner than the other.
    def judge(one: "xr.Dataset", at: dict[str, str]) -> "stats.Part":
        times = [one["epochs_to_fit"].sel(function=function).values for function in (sooner, later)]
        return stats.stochastic_order(
            *times, larger_is_better=False, relation="before", first=sooner, second=later, coordinates={**pair, **at}
        )

    return parts_of(_times(results), {"network": _WORDS}, judge, own=True)


def _arcsinh_before_cos(results: "xr.DataTree") -> "Sequence[stats.Part]":
    missing = [one for one in _FUNCTIONS if one not in results.to_dataset()["function"].values]
    return [missing_part(missing)] if missing else _sooner(results, "arcsinh", "cos")


def _straighter_first(results: "xr.DataTree") -> "Sequence[stats.Part]":
    straightness = results.to_dataset()["straight_line_r2"].to_series().sort_values(ascending=False, kind="stable")
    parts: list[stats.Part] = []
    for straighter, other in combinations(straightness.index, 2):
        if straightness[straighter] > straightness[other]:
            pair = {"functions": f"{straighter} before {other}"} if len(straightness) > 2 else {}
            parts += _sooner(results, str(straighter), str(other), **pair)
    return parts or [stats.not_run("this run has no two functions of which one is more linear", {})]


def _network_before(function: str, first: str, second: str) -> "Callable[[xr.DataTree], Sequence[stats.Part]]":
    def decide(results: "xr.DataTree") -> "Sequence[stats.Part]":
        whole = _times(results)
        missing = [function] if function not in whole["function"].values else []
        missing += [f"the {name} network" for name in (first, second) if name not in whole["network"].values]
        if missing:
            return [missing_part(missing)]
        one, other = (whole["epochs_to_fit"].sel(function=function, network=name).values for name in (first, second))
        return [
            stats.stochastic_order(
                one, other, larger_is_better=False, relation="before", first=first, second=second,
                coordinates={"function": function},
            )
        ]  # fmt: skip

    return decide


def _deepest_end_lower(results: "xr.DataTree") -> "Sequence[stats.Part]":
    whole, settings = _times(results), Settings.model_validate(results.attrs["settings"])
    names = [str(name) for name in whole["network"].values]
    depth = {name: len(hidden) for name, hidden in zip(names, settings.networks, strict=True)}
    pairs = [
        (deep, shallow)
        for deep in names
        for shallow in names
        if depth[deep] == max(depth.values()) and depth[shallow] == min(depth.values())
    ]
    if len(set(depth.values())) == 1:
        return [stats.not_run("all networks of this run have the same depth", {})]
    last = whole["test_loss"].isel(epoch=-1)
    called = {name: f"{name} with {int(whole['parameter_count'].sel(network=name)):,} parameters" for name in names}
    return [
        stats.stochastic_order(
            last.sel(function=function, network=deep).values, last.sel(function=function, network=shallow).values,
            larger_is_better=False, first=called[deep], second=called[shallow],
            coordinates={"function": function} | ({"networks": f"{deep} and {shallow}"} if len(pairs) > 1 else {}),
        )
        for function in map(str, whole["function"].values)
        for deep, shallow in pairs
    ]  # fmt: skip


CLAIMS = (
    Claim(
        "a", "All networks converge on both functions (each network, in most trainings).", "majority",
        "the share of members whose training loss is below 1 % of the target's variance by epoch 1,000; for each "
        "function and network", _fits_by(1000, *_FUNCTIONS), absolute=True,
    ),
    Claim(
        "b", "On arcsinh all networks converge at about 250 epochs (each network, in most trainings).", "majority",
        "the share of members that fit by epoch 275; for each network", _fits_by(275, "arcsinh"), absolute=True,
    ),
    Claim(
        "c", "The cosine takes longer to learn than arcsinh.", "stochastic_order",
        "epochs to fit, arcsinh before cos; for each network", _arcsinh_before_cos,
    ),
    Claim(
        "d", "On arcsinh the deep network converges faster than the shallow one.", "stochastic_order",
        "epochs to fit, deep before shallow", _network_before("arcsinh", "deep", "shallow"),
    ),
    Claim(
        "e", "On the cosine the shallow network converges faster than the deep one.", "stochastic_order",
        "epochs to fit, shallow before deep", _network_before("cos", "shallow", "deep"),
    ),
    Claim(
        "f", "Every network predicts unseen inputs well (each network, in most trainings).", "majority",
        "the share of members whose test loss is below 1 % of the variance at epoch 1,000; for each function and "
        "network", _predicts_well, absolute=True,
    ),
    Claim(
        "g", "The more linear function is learned faster.", "stochastic_order",
        "epochs to fit, the function with the larger straight-line R² first; for each network", _straighter_first,
    ),
    Claim(
        "h", "The deepest networks end with a lower test loss than the shallowest (ours, not from the homework "
        "report).", "stochastic_order",
        "test loss after the last epoch, each network with the most hidden layers below each with the fewest; for each "
        "function", _deepest_end_lower,
    ),
)  # fmt: skip


STUDY = Study(
    name="depth-function",
    part="Part 1: depth",
    question="At equal parameters, do deep networks fit a function better than shallow ones?",
    about="Networks of different depths, unless told otherwise with about 750 parameters each, learn functions of one "
    "variable from the same examples, by Adam on the full batch. Every network is trained many times, from starts of "
    "its own. A member fits when its training loss is below 1 % of the target's variance.",
    reading="Each faint line is one member; the strong line is their mean on the axis's own scale, its band the "
    "pointwise 95 % interval of that mean.",
    shows=(
        "Figure 1: training loss by epoch, cos",
        "Figure 2: training loss by epoch, arcsinh",
        "Figure 3: prediction and truth, arcsinh",
        "Figure 4: prediction and truth, cos",
        "epochs until each member fits",
        "dead hidden units",
        "straight pieces of the learned functions, beside those over the whole line and their bound",
    ),
    settings=Settings,
    plan=plan,
    derive=derive,
    claims=CLAIMS,
    figures=later("bathymetry.studies.depth_function_figures", "figures"),
    seen=later("bathymetry.studies.depth_function_figures", "seen"),
)
