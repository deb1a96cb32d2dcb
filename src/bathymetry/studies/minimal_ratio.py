from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import ClassVar

import torch
import xarray as xr
from pydantic import Field, NonNegativeInt, PositiveInt

from bathymetry import probes, training
from bathymetry.charts import Reference, attrs, dots, scatter
from bathymetry.charts.bar_charts import stacks
from bathymetry.charts.figure import Panel
from bathymetry.claims import claim, correlation, majority
from bathymetry.core.showing import joined, label
from bathymetry.data import Data
from bathymetry.models import MLPConfig
from bathymetry.models.mlp import parameter_count
from bathymetry.stats.wording import number
from bathymetry.studies.arrays import each
from bathymetry.studies.base import Drawn, Groups, Planned, figure
from bathymetry.studies.families import FunctionStudy, surface_of
from bathymetry.studies.settings import LearningRate, Widths
from bathymetry.surface import LossSurface

ACTIVATIONS = ("relu", "tanh")
PHASES = ("initialisation", "trained", "critical")
STATUSES = ("on the way", "critical", "flat", "stalled")
ON_THE_WAY, CRITICAL, FLAT, STALLED = range(len(STATUSES))
COLUMNS = ("loss", "gradient_norm", "tolerance", "converged", "flat", "attempts", "distance")  # then eigenvalues
ITERATIONS = 100  # of one search
RESTARTS = (2, 19)  # of searches from where the descent ends, and from where training ended
RADIUS = 0.03  # of the perturbations at a restart
RATE = 1e-2  # learning rate of the descent before the search
PLATEAU = 1e-3  # relative distance from the loss of a constant output that counts as equal


@dataclass(frozen=True)
class Curvature:
    """The loss, the gradient norm and all eigenvalues of the Hessian in float64 on the CPU, (member, column)."""

    network: MLPConfig
    examples: Data

    @cached_property
    def surface(self) -> LossSurface:
        return surface_of(self.network, self.examples)

    def __call__(self, state: training.TrainingState) -> torch.Tensor:
        return self.row(state.parameters.vectors().cpu().double(), {})

    def row(self, theta: torch.Tensor, search: Mapping[str, torch.Tensor]) -> torch.Tensor:
        index = probes.curvature_index(self.surface, theta)
        norm, loss = index.gradient_norm, self.surface.loss(theta)
        known = {"loss": loss, "gradient_norm": norm, "tolerance": index.tolerance, **search}
        nothing = torch.full((len(theta),), torch.nan, dtype=torch.float64)
        columns = [known.get(name, nothing).double() for name in COLUMNS]
        values = index.eigenvalues if index.eigenvalues is not None else nothing[:, None].expand(theta.shape)
        return torch.cat([torch.stack(columns, dim=1), values], dim=1)


@dataclass(frozen=True)
class CriticalCurvature(Curvature):
    """The same at a critical point, searched from where each member is after some more steps of Adam."""

    descent: int

    version: ClassVar[int] = 3

    @property
    def seconds(self) -> float:
        """About how long a member takes: mostly dense Hessians."""
        return 5e-7 * len(self.examples.train) * parameter_count(self.network.widths) ** 2

    def __call__(self, state: training.TrainingState) -> torch.Tensor:
        trained = state.parameters.vectors().cpu().double()
        steps = torch.tensor([round(self.descent * (member % 10) / 9) for member in state.members])
        norm = probes.gradient_norm(self.surface, trained).value
        seed = state.seed * 100_003 + state.members.start
        search = partial(
            probes.critical_point, self.surface, iterations=ITERATIONS, radius=RADIUS, seed=seed, seconds=None
        )
        theta, attempts = trained.clone(), torch.zeros(len(trained), dtype=torch.int64)
        converged, flat = torch.zeros(len(trained)).bool(), torch.zeros(len(trained)).bool()
        for start, restarts in zip((descended(self.surface, trained, steps), trained), RESTARTS, strict=True):
            left = (~converged & trained.isfinite().all(1)).nonzero().ravel()
            if len(left) == 0:
                break
            found = search(start[left], restarts=restarts, start_norm=norm[left])
            theta[left], converged[left], flat[left] = found.theta, found.converged, found.flat
            attempts[left] += found.attempts
        distance = (theta - trained).norm(dim=1)
        return self.row(theta, {"converged": converged, "flat": flat, "attempts": attempts, "distance": distance})


def descended(surface: LossSurface, theta: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
    """Continue with Adam, each member for its own number of steps."""
    theta = theta.clone()
    first, second = torch.zeros_like(theta), torch.zeros_like(theta)
    for step in range(1, int(steps.max()) + 1):
        gradient = surface.gradient(theta)
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient.square()
        move = first / (1 - 0.9**step) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
        theta = theta - RATE * move * (steps >= step)[:, None]
    return theta


class MinimalRatio(FunctionStudy):
    """What kind of points does training stop at?

    Many small networks are trained on a function of one variable for a few epochs, and all eigenvalues of the Hessian
    of the training loss are computed. The minimal ratio is the share of them that are positive: 1 at a strict minimum.
    Thirty epochs end far from any critical point, so every member then continues: by Adam, for a number of steps of its
    own, and then by Newton steps in float64 until the gradient vanishes, restarting from a perturbed point when the
    search stalls. Eigenvalues count as zero within a tolerance set by the floating-point precision.
    """

    chapter = "Part 2: optimisation"
    reading = (
        "Each point is one member. It is critical if its gradient norm is below 10⁻⁸ times that after training; "
        "members whose search stalled are counted, but excluded from the claims."
    )
    answered_by = ("minimal_ratio", "minimal_ratio", 1)
    presets = {"full": {"members": 100}, "quick": {"members": 30}, "smoke": {"members": 6, "samples": 40}}
    variables = {
        "point_loss": attrs("training loss (mean squared error)", "log"),
        "constant_loss": attrs("training loss of a constant output", "log"),
        "gradient_norm": attrs("gradient norm", "log"),
        "minimal_ratio": attrs("minimal ratio (share of eigenvalues > 0)"),
        "zero_share": attrs("share of eigenvalues within the tolerance of zero"),
        "negative_share": attrs("share of eigenvalues < 0"),
        "tolerance": attrs("tolerance within which eigenvalues count as zero", "log"),
        "eigenvalues": attrs("eigenvalues of the Hessian"),
        "status": attrs("status"),
        "attempts": attrs("starts of the search"),
        "distance": attrs("distance from the trained to the critical point", "log"),
    }

    members: PositiveInt = Field(
        100, le=100_000, description="networks with each activation; a correlation needs at least 20"
    )
    function: str = Field("cos", description="function to learn, by name or as an expression in x")
    network: Widths = Field((3, 5), description="hidden widths, for example 3,5")
    learning_rate: LearningRate = 1e-2
    epochs: PositiveInt = Field(30, description="epochs of training, of one step on the full batch each")
    descent: NonNegativeInt = Field(
        300, description="further descent before the search: members take between 0 and this many steps"
    )

    def plan(self) -> Planned:
        examples = self.examples(self.function)
        for activation in ACTIVATIONS:
            network = self.mlp(self.network, activation)
            search = CriticalCurvature(network, examples, self.descent)
            ends = (0, self.epochs)
            measurements = {
                "curvature": training.Measurement(Curvature(network, examples), ends, "phase", ("column",)),
                "critical_curvature": self.at_end(search, "column"),
            }
            at = {"activation": activation}
            yield self.ensemble(at, network, data=examples, record_at=ends, measurements=measurements)

    def derive(self, results: Groups) -> Groups:
        axes = ("activation", "phase", "member", "column")
        both = results["main"]["curvature"], results["main"]["critical_curvature"].rename(last_epoch="phase")
        table = xr.concat([one.drop_vars("phase").transpose(*axes) for one in both], "phase")
        table = table.assign_coords(phase=list(PHASES)).transpose(*axes)
        columns = {name: table.isel(column=place, drop=True) for place, name in enumerate(COLUMNS)}
        eigenvalues = table.isel(column=slice(len(COLUMNS), None)).rename(column="index")
        tolerance, count = columns["tolerance"], eigenvalues.sizes["index"]
        shares = {
            "minimal_ratio": eigenvalues > tolerance,
            "zero_share": abs(eigenvalues) <= tolerance,
            "negative_share": eigenvalues < -tolerance,
        }
        status = xr.full_like(tolerance, STALLED, dtype=int)
        status = status.where(columns["flat"] != 1, FLAT).where(columns["converged"] != 1, CRITICAL)
        status = status.where(status["phase"] == "critical", ON_THE_WAY)
        targets = self.examples(self.function).y_train.double()
        measured = ["curvature", "critical_curvature", "phase", "last_epoch"]
        r = results["main"].drop_vars(measured).assign_coords(phase=list(PHASES))
        r = r.assign({name: (one.sum("index") / count).where(tolerance.notnull()) for name, one in shares.items()})
        r = r.assign({name: columns[name].sel(phase="critical", drop=True) for name in ("attempts", "distance")})
        return {
            "main": r.assign(
                point_loss=columns["loss"],
                constant_loss=float(targets.var(correction=0)),
                gradient_norm=columns["gradient_norm"],
                tolerance=tolerance,
                status=status.assign_attrs(meaning=", ".join(f"{n} {word}" for n, word in enumerate(STATUSES))),
                eigenvalues=eigenvalues,
            )
        }

    @claim(
        "After 30 epochs the gradient is almost zero.",
        majority("ReLU members whose gradient norm after training is below 1 % of that at initialisation"),
    )
    def a(self, r: xr.Dataset) -> xr.DataArray:
        norm = r["gradient_norm"].sel(activation="relu")
        return norm.sel(phase="trained", drop=True) < 0.01 * norm.sel(phase="initialisation", drop=True)

    @claim(
        "The lower the loss, the higher the minimal ratio.",
        correlation(
            "the rank correlation of loss and minimal ratio over the members at converged critical points",
            "loss",
            "ratio",
            "below",
        ).for_each(activation=None),
    )
    def b(self, r: xr.Dataset) -> xr.Dataset:
        at = r[["point_loss", "minimal_ratio"]].sel(phase="critical").where(_is_critical(r))
        # six digits, so that rounding does not rank two members on the same plateau
        loss = xr.apply_ufunc(lambda one: float(f"{one:.6g}"), at["point_loss"], vectorize=True)
        return xr.Dataset({"loss": loss, "ratio": at["minimal_ratio"]})

    @figure("Training loss and minimal ratio", number=11, main_finding=True)
    def minimal_ratio(self, r: xr.Dataset) -> Drawn:
        """The ratio classifies a point only where the gradient vanishes: at critical points, not after training. Points
        at one place are spread upwards and down.
        """
        at = r[["minimal_ratio", "point_loss"]]
        critical = at.sel(phase="critical").where(_is_critical(r))
        mean, panels = Reference(float(r["constant_loss"]), "predicting the mean", at="end"), list[Panel]()
        for title, one in (("After training", at.sel(phase="trained")), ("At critical points", critical)):
            ratio, loss = one["minimal_ratio"], one["point_loss"]
            panels += scatter(ratio, loss, "activation", x_domain=(-0.02, 1.02), references=[mean], title=title)
        constant, losses = float(r["constant_loss"]), each(critical["point_loss"], "activation")
        found = joined([f"{int(one.notnull().sum())} of {one.size} {label(name)}" for name, one in losses])
        plateau = joined([f"{int((abs(one / constant - 1) < PLATEAU).sum())}" for _, one in losses])
        return panels, f"{found} members reach critical points, {plateau} of them with the loss of predicting the mean."

    @figure("Positive, zero and negative eigenvalues at critical points", main_finding=True)
    def eigenvalue_signs(self, r: xr.Dataset) -> Drawn:
        """One bar per member, sorted; members without a critical point have none. A critical point with negative
        eigenvalues is a saddle. Eigenvalues within the accuracy of float64 count as zero.
        """
        names = ["minimal_ratio", "zero_share", "negative_share"]
        at = r[names].sel(phase="critical").where(_is_critical(r))
        shares = at.to_dataarray("sign").assign_coords(sign=["positive", "zero", "negative"])
        shares = shares.assign_attrs(attrs("share of the eigenvalues"))
        panels = stacks(shares, "sign", facet="activation", missing="without critical point")
        saddles = [
            f"{int((one > 0).sum())} of {int(one.notnull().sum())} with {label(name)}"
            for name, one in each(at["negative_share"], "activation")
        ]
        return panels, f"Of the critical points, {joined(saddles)} are saddles."

    @figure("Gradient norm in each phase", main_finding=True)
    def gradient_norms(self, r: xr.Dataset) -> Drawn:
        """A gradient of exactly zero has no dot."""
        norm = r["gradient_norm"]
        shares = norm.sel(phase="trained", drop=True) / norm.sel(phase="initialisation", drop=True)
        medians = each(100 * shares.median("member"), "activation")
        words = joined([f"{number(one)} % ({label(name)})" for name, one in medians])
        flat = r["status"].sel(phase="critical") == FLAT
        end = f"{int(flat.sum())} of {flat.size} searches end flat"
        found = f"After training the median gradient norm is {words} of its initial value; {end}."
        return dots(norm, "phase", facet="activation"), found


def _is_critical(r: xr.Dataset) -> xr.DataArray:
    return r["status"].sel(phase="critical", drop=True) == CRITICAL
