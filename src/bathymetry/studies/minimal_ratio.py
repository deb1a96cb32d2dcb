"""What kind of points does training stop at?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from bathymetry import data, models, probes, stats, training
from bathymetry.studies.legacy import Claim, Study, StudySettings, later
from bathymetry.studies.plan import Plan, PlannedEnsemble
from bathymetry.studies.settings import Widths
from bathymetry.studies.surfaces import surface_of

if TYPE_CHECKING:
    import torch
    import xarray as xr

    from bathymetry.data import Data

ACTIVATIONS = ("relu", "tanh")
PHASES = ("initialisation", "trained", "critical")
NAMES = {"relu": "ReLU", "tanh": "tanh"}
STATUSES = ("on the way", "critical", "flat", "stalled")
_COLUMNS = ("loss", "gradient_norm", "tolerance", "converged", "flat", "attempts", "distance")
_ITERATIONS, _NEAR, _AGAIN, _REACH = 100, 2, 19, 0.03
_RATE = 1e-2  # of the descent before the search


class Settings(StudySettings):
    """What can be varied."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "full": {"members": 100},
        "quick": {"members": 30},
        "smoke": {"members": 6, "samples": 40},
    }

    members: PositiveInt = Field(100, description="networks with each activation; a correlation needs at least 20")
    function: str = Field("cos", description="function to learn, by name or as an expression in x")
    network: Widths = Field((3, 5), description="hidden widths, for example 3,5")
    low: float = Field(-10.0, description="lower end of the inputs")
    high: float = Field(10.0, description="upper end of the inputs")
    samples: PositiveInt = Field(1000, description="training inputs, and as many for testing")
    learning_rate: PositiveFloat = Field(1e-2, description="of Adam")
    epochs: PositiveInt = Field(30, description="of the report's training")
    descent: NonNegativeInt = Field(
        300, description="most steps that members go on descending, from none to this many, before the search"
    )


@dataclass(frozen=True)
class Curvature:
    """The loss, the gradient norm and all eigenvalues of the Hessian, in float64."""

    network: "models.MLPConfig"
    examples: "Data"

    def __call__(self, moment: "training.TrainingState") -> "torch.Tensor":
        """Measure them.

        Args:
            moment: The moment of training.

        Returns:
            (member, column): see `_COLUMNS`, then the eigenvalues, ascending.
        """
        surface = surface_of(self.network, self.examples)
        return _row(surface, moment.parameters.vectors().double(), {})


@dataclass(frozen=True)
class CriticalCurvature:
    """The same at a critical point, searched from where each member has got to after some more descent."""

    network: "models.MLPConfig"
    examples: "Data"
    descent: int

    version: ClassVar[int] = 3

    @property
    def seconds(self) -> float:
        """About how long a member takes: dense Hessians, again and again."""
        return 5e-7 * len(self.examples.train) * models.parameter_count(self.network.widths) ** 2

    def __call__(self, moment: "training.TrainingState") -> "torch.Tensor":
        """Search and measure.

        Args:
            moment: The end of training.

        Returns:
            (member, column): see `_COLUMNS`, then the eigenvalues, ascending.
        """
        import torch

        surface = surface_of(self.network, self.examples)
        trained = moment.parameters.vectors().double()
        steps = torch.tensor([round(self.descent * (member % 10) / 9) for member in moment.members])
        norm = probes.gradient_norm(surface, trained).value
        seed = moment.seed * 100_003 + moment.members.start
        theta, attempts = trained.clone(), torch.zeros(len(trained), dtype=torch.int64)
        converged, flat = torch.zeros(len(trained)).bool(), torch.zeros(len(trained)).bool()
        # first from where the descent ends, and where that finds nothing, from where training ended
        for start, restarts in ((descended(surface, trained, steps), _NEAR), (trained, _AGAIN)):
            left = (~converged & trained.isfinite().all(1)).nonzero().ravel()
            if len(left) == 0:
                break
            found = probes.critical_point(
                surface, start[left], iterations=_ITERATIONS, restarts=restarts, radius=_REACH, seed=seed,
                start_norm=norm[left], seconds=None,
            )  # fmt: skip
            theta[left], converged[left], flat[left] = found.theta, found.converged, found.flat
            attempts[left] += found.attempts
        told = {
            "converged": converged, "flat": flat, "attempts": attempts,
            "distance": (theta - trained).norm(dim=1),
        }  # fmt: skip
        return _row(surface, theta, told)


def descended(surface: Any, theta: "torch.Tensor", steps: "torch.Tensor") -> "torch.Tensor":
    """Go on with Adam, each member for a number of steps of its own.

    Args:
        surface: The loss surface.
        theta: Where the members are.
        steps: How many steps each makes.

    Returns:
        Where they get to.
    """
    import torch

    theta = theta.clone()
    first, second = torch.zeros_like(theta), torch.zeros_like(theta)
    for step in range(1, int(steps.max()) + 1):
        gradient = surface.gradient(theta)
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient.square()
        move = first / (1 - 0.9**step) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
        theta = theta - _RATE * move * (steps >= step)[:, None]
    return theta


def _row(surface: Any, theta: "torch.Tensor", told: Mapping[str, "torch.Tensor"]) -> "torch.Tensor":
    import torch

    index = probes.curvature_index(surface, theta)
    known = {"loss": surface.loss(theta), "gradient_norm": index.gradient_norm, "tolerance": index.tolerance, **told}
    nothing = torch.full((len(theta),), torch.nan, dtype=torch.float64)
    columns = [known.get(name, nothing).double() for name in _COLUMNS]
    values = index.eigenvalues if index.eigenvalues is not None else nothing[:, None].expand(theta.shape)
    return torch.cat([torch.stack(columns, dim=1), values], dim=1)


def plan(settings: Settings) -> Plan:
    """Plan one ensemble for each activation.

    Args:
        settings: The study's settings.

    Returns:
        The plan.
    """
    examples = data.function(settings.function, settings.low, settings.high, settings.samples, settings.seed)
    ensembles = []
    for activation in ACTIVATIONS:
        network = models.MLPConfig((1, *settings.network, 1), activation)
        search = CriticalCurvature(network, examples, settings.descent)
        config = training.TrainingConfig(
            network=network,
            data=examples,
            seed=settings.seed,
            optimizer=training.Adam(lr=settings.learning_rate),
            epochs=settings.epochs,
            record_at=(0, settings.epochs),
            measurements={
                "seen": training.Measurement(Curvature(network, examples), (0, settings.epochs), "phase", ("column",)),
                "found": training.Measurement(search, (settings.epochs,), "last_epoch", ("column",)),
            },
        )
        ensembles.append(PlannedEnsemble({"activation": activation}, config, range(settings.members)))
    return Plan(tuple(ensembles), data={settings.function: examples.origin})


def derive(settings: Settings, records: "xr.DataTree") -> "xr.DataTree":
    """Count eigenvalues phase by phase.

    Args:
        settings: The study's settings.
        records: What the ensembles recorded.

    Returns:
        The results.
    """
    import xarray as xr

    examples = data.function(settings.function, settings.low, settings.high, settings.samples, settings.seed)
    whole = records.to_dataset()
    dims = ("activation", "phase", "member", "column")
    found = whole["found"].rename(last_epoch="phase").drop_vars("phase").transpose(*dims)
    seen = whole["seen"].drop_vars("phase").transpose(*dims)
    table = xr.concat([seen, found], "phase").assign_coords(phase=list(PHASES)).transpose(*dims)
    columns = {name: table.isel(column=place, drop=True) for place, name in enumerate(_COLUMNS)}
    values = table.isel(column=slice(len(_COLUMNS), None)).rename(column="index")
    tolerance, size = columns["tolerance"], values.sizes["index"]
    known = tolerance.notnull()
    converged, flat = columns["converged"] == 1, columns["flat"] == 1
    at_search = xr.DataArray([False, False, True], dims="phase", coords={"phase": list(PHASES)})
    status = (3 * at_search - 1 * flat - 2 * converged).transpose(*dims[:3])  # a place in STATUSES
    kept = whole.drop_vars(["seen", "found", "phase", "last_epoch"])
    records.dataset = kept.assign_coords(phase=list(PHASES)).assign(
        loss=columns["loss"],
        constant_loss=float(examples.y_train.double().var(correction=0)),
        gradient_norm=columns["gradient_norm"],
        tolerance=tolerance,
        minimal_ratio=((values > tolerance).sum("index") / size).where(known),
        zero_share=((abs(values) <= tolerance).sum("index") / size).where(known),
        negative_share=((values < -tolerance).sum("index") / size).where(known),
        status=status.astype(np.int64).assign_attrs(meaning=", ".join(f"{n} {s}" for n, s in enumerate(STATUSES))),
        attempts=columns["attempts"].sel(phase="critical", drop=True),
        distance=columns["distance"].sel(phase="critical", drop=True),
        eigenvalues=values,
    )
    return records


def _almost_zero(results: "xr.DataTree") -> "Sequence[stats.Part]":
    norm = results.to_dataset()["gradient_norm"].sel(activation="relu")
    return [stats.majority((norm.sel(phase="trained") < 0.01 * norm.sel(phase="initialisation")).values)]


def _lower_is_higher(results: "xr.DataTree") -> "Sequence[stats.Part]":
    whole = results.to_dataset().sel(phase="critical")
    critical = whole["status"] == STATUSES.index("critical")
    parts = []
    for activation in whole["activation"].values.tolist():
        chosen = critical.sel(activation=activation).values
        loss, ratio = (whole[name].sel(activation=activation).values[chosen] for name in ("loss", "minimal_ratio"))
        loss = np.array([float(f"{one:.6g}") for one in loss])  # so that rounding ranks no two of the same plateau
        at = {"activation": NAMES.get(activation, str(activation))}
        parts.append(stats.correlation(loss, ratio, expected="below", first="loss", second="ratio", coordinates=at))
    return parts


CLAIMS = (
    Claim(
        "a", "After 30 epochs the gradient is almost zero.", "majority",
        "the share of ReLU members whose gradient norm after training is below 1 % of that at initialisation",
        _almost_zero,
    ),
    Claim(
        "b", "The lower the loss, the higher the minimal ratio.", "correlation",
        "the rank correlation of loss and minimal ratio over the members at converged critical points; for each "
        "activation", _lower_is_higher,
    ),
)  # fmt: skip


STUDY = Study(
    name="minimal-ratio",
    part="Part 2: optimisation",
    question="What kind of points does training stop at?",
    about="Many small networks learn a function of one variable for a few epochs, and all eigenvalues of the Hessian "
    "of the loss that was trained are computed. The minimal ratio is the share of them that are positive: 1 at a "
    "strict minimum. Thirty epochs end nowhere near a critical point, so every member then goes on: down for a while, "
    "each for a time of its own, and from there by Newton steps in float64 to where the gradient vanishes, beginning "
    "anew from a little beside where a search stalls. Eigenvalues count as zero within a tolerance that follows from "
    "the precision.",
    reading="One point a member. A member counts as critical when its gradient norm is below 1e-8 of that after "
    "training; members whose search stalled are counted, but are no part of a claim.",
    shows=(
        "Figure 11: loss against minimal ratio, after training and at critical points",
        "positive, zero and negative eigenvalues at critical points",
        "gradient norms in the three phases",
    ),
    settings=Settings,
    plan=plan,
    derive=derive,
    claims=CLAIMS,
    figures=later("bathymetry.studies.minimal_ratio_figures", "figures"),
    seen=later("bathymetry.studies.minimal_ratio_figures", "seen"),
)
