"""What lies between two solutions?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from bathymetry import models, probes, stats, training
from bathymetry.studies.legacy import Claim, Classes, ImageSettings, Study, classes_of, later
from bathymetry.studies.plan import JointMeasurement, Plan, PlannedEnsemble
from bathymetry.studies.settings import Widths
from bathymetry.studies.snapshots import vectors

if TYPE_CHECKING:
    import torch
    import xarray as xr

    from bathymetry.data import Data
    from bathymetry.store import Chunk

ALPHAS = tuple(step / 20 for step in range(-20, 41))
PAIRINGS = ("independent", "shared", "aligned")
_AROUND = 0.1  # how far beside an end a peak is looked for
_HALVES = {"train": "training", "test": "test"}


class Settings(ImageSettings):
    """What can be varied."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"members": 6, "train_examples": 5_000, "test_examples": 2_000, "epochs": 6},
        "smoke": {"members": 6, "data": "digits", "epochs": 2},
    }

    network: Widths = Field((30,), description="hidden widths, for example 30")
    first_rate: PositiveFloat = Field(1e-3, description="learning rate of Adam at α = 0")
    second_rate: PositiveFloat = Field(1e-2, description="learning rate of Adam at α = 1")
    batch_size: PositiveInt = Field(25, description="examples a batch")
    epochs: PositiveInt = Field(10, description="passes over the training examples")


@dataclass(frozen=True)
class Between:
    """Loss and accuracy on the lines between two ensembles, training and test."""

    network: "models.MLPConfig"
    examples: "Data"
    aligned: bool

    version: ClassVar[int] = 2

    @property
    def seconds(self) -> float:
        """About how long a pair takes."""
        return _line_seconds(self.network, self.examples)

    def __call__(self, units: "Sequence[Chunk]") -> "xr.Dataset":
        """Walk them.

        Args:
            units: The members at α = 0, and those at α = 1, in their order.

        Returns:
            Losses, accuracies, barriers.
        """
        import torch

        first, second = (vectors(self.network, unit, max(unit.snapshots)) for unit in units)
        if self.aligned:
            pairs = zip(first, second, strict=True)
            second = torch.stack([_aligned(self.network, one, other) for one, other in pairs])
        return walked(self.network, self.examples, first, second, units[0].members)


@dataclass(frozen=True)
class FromTheStart:
    """The same between each member's start and its solution."""

    network: "models.MLPConfig"
    examples: "Data"

    version: ClassVar[int] = 2

    @property
    def seconds(self) -> float:
        """About how long a member takes."""
        return _line_seconds(self.network, self.examples)

    def __call__(self, units: "Sequence[Chunk]") -> "xr.Dataset":
        """Walk the lines.

        Args:
            units: The members, with their starts.

        Returns:
            Losses, accuracies, barriers.
        """
        (unit,) = units
        start, end = (vectors(self.network, unit, epoch) for epoch in (0, max(unit.snapshots)))
        return walked(self.network, self.examples, start, end, unit.members)


def _line_seconds(network: "models.MLPConfig", examples: "Data") -> float:
    rows = len(ALPHAS) * (len(examples.train) + len(examples.test))
    return 9e-12 * rows * models.parameter_count(network.widths)


def walked(
    network: "models.MLPConfig", examples: "Data", first: "torch.Tensor", second: "torch.Tensor", members: range
) -> "xr.Dataset":
    """Walk from one ensemble to another, on the training and on the test examples.

    Args:
        network: The network.
        examples: The data.
        first: Parameters at α = 0.
        second: Parameters at α = 1.
        members: Their numbers.

    Returns:
        Losses and accuracies by α; barriers, and whether the loss falls all the way, on the training examples.
    """
    import torch
    import xarray as xr

    from bathymetry.surface import LossSurface

    variables: dict[str, Any] = {}
    with torch.random.fork_rng(devices=[]):
        module = network()
    for half, one in (("train", examples.train), ("test", examples.test)):
        line = probes.interpolate(LossSurface(module, "cross_entropy", one), first, second, ALPHAS)
        variables[f"{half}_loss"] = (("member", "alpha"), line.loss.numpy())
        assert line.accuracy is not None
        assert line.error_barrier is not None
        assert line.error_barrier_above_line is not None
        variables[f"{half}_accuracy"] = (("member", "alpha"), line.accuracy.numpy())
        if half == "train":
            rises = [line.barrier, line.barrier_above_line, line.error_barrier, line.error_barrier_above_line]
            variables["barrier"] = (("member", "quantity"), torch.stack(rises, dim=1).numpy())
            variables["monotone"] = ("member", line.monotone.numpy())
    quantities = ["loss, mean", "loss, line", "error, mean", "error, line"]
    return xr.Dataset(variables, {"member": list(members), "alpha": list(ALPHAS), "quantity": quantities})


def _aligned(network: "models.MLPConfig", first: "torch.Tensor", second: "torch.Tensor") -> "torch.Tensor":
    import torch
    from torch.nn.utils import parameters_to_vector, vector_to_parameters

    if not bool(first.isfinite().all() and second.isfinite().all()):
        return second  # a member that diverged matches nothing, and its line is NaN in any order of its units
    modules = []
    for row in (first, second):
        with torch.random.fork_rng(devices=[]):
            module = network()
        vector_to_parameters(row.clone(), module.parameters())
        modules.append(module)
    return parameters_to_vector(models.align(*modules).parameters()).detach()


def plan(settings: Settings) -> Plan:
    """Plan one ensemble a learning rate, and the lines between them.

    Args:
        settings: The study's settings.

    Returns:
        The plan. The second rate has as many members again, which share nothing with the first's.
    """
    given: Classes = classes_of(settings, settings.batch_size)
    examples, count = given.examples, settings.members
    network = models.MLPConfig((given.inputs, *settings.network, given.classes))

    def ensemble(rate: float, members: range, end: str) -> PlannedEnsemble:
        config = training.TrainingConfig(
            network=network, data=examples, seed=settings.seed, optimizer=training.Adam(lr=rate),
            loss="cross_entropy", epochs=settings.epochs, batch_size=settings.batch_size, snapshots=(0,),
        )  # fmt: skip
        return PlannedEnsemble({"end": end}, config, members, "training")

    first = ensemble(settings.first_rate, range(count), "first")
    same = ensemble(settings.second_rate, range(count), "second, shared")
    others = ensemble(settings.second_rate, range(count, 2 * count), "second, independent")
    lines = {
        "independent": (Between(network, examples, aligned=False), others),
        "shared": (Between(network, examples, aligned=False), same),
        "aligned": (Between(network, examples, aligned=True), others),
    }
    joints = [
        JointMeasurement({"pairing": pairing}, (first, ends), function) for pairing, (function, ends) in lines.items()
    ]
    joints += [
        JointMeasurement({"learning_rate": rate}, (one,), FromTheStart(network, examples), "from_start")
        for rate, one in ((settings.first_rate, first), (settings.second_rate, same))
    ]
    return Plan((first, same, others), tuple(joints), data={examples.name: examples.origin})


def derive(settings: Settings, records: "xr.DataTree") -> "xr.DataTree":
    """Add of how many examples an accuracy is.

    Args:
        settings: The study's settings.
        records: What was measured.

    Returns:
        The results.
    """
    examples = classes_of(settings, settings.batch_size).examples
    records.dataset = records.to_dataset().assign(train_examples=len(examples.train), test_examples=len(examples.test))
    return records


def _accuracies(results: "xr.DataTree") -> "list[tuple[str, xr.DataArray]]":
    whole = results.to_dataset().sel(pairing="independent")
    return [(half, whole[f"{half}_accuracy"]) for half in ("train", "test")]


def _at(accuracy: "xr.DataArray", alpha: float) -> "np.ndarray[Any, Any]":
    values: np.ndarray[Any, Any] = accuracy.sel(alpha=alpha, method="nearest").values
    return values


def _peaks(results: "xr.DataTree") -> "Sequence[stats.Part]":
    parts = []
    for half, accuracy in _accuracies(results):
        higher = [_at(accuracy, end) > _at(accuracy, end + side) for end in (0.0, 1.0) for side in (-_AROUND, _AROUND)]
        parts.append(stats.majority(np.all(higher, axis=0), coordinates={"examples": _HALVES[half]}))
    return parts


def _lower_between(results: "xr.DataTree") -> "Sequence[stats.Part]":
    return [
        stats.majority(
            (_at(accuracy, 0.5) < _at(accuracy, 0.0)) & (_at(accuracy, 0.5) < _at(accuracy, 1.0)),
            coordinates={"examples": _HALVES[half]},
        )
        for half, accuracy in _accuracies(results)
    ]


CLAIMS = (
    Claim(
        "a", "Accuracy peaks at α = 0 and at α = 1.", "majority",
        "the share of independent pairs whose accuracy at both ends is above that 0.1 to either side; for training and "
        "test examples", _peaks, absolute=True,
    ),
    Claim(
        "b", "In between accuracy is lower.", "majority",
        "the share of independent pairs whose accuracy at α = ½ is below that at both ends; for training and test "
        "examples", _lower_between,
    ),
)  # fmt: skip


STUDY = Study(
    name="interpolation",
    part="Part 3: generalisation",
    question="What lies between two solutions?",
    about="Networks trained at one learning rate are joined by straight lines in parameter space to networks trained "
    "at another, θ(α) = (1 − α)θ₁ + αθ₂, and loss and accuracy are measured along the lines and beyond. Independent "
    "pairs share nothing; shared pairs have the same start and the same batches; aligned pairs are the independent "
    "ones after the hidden units of the second were put into the order that matches the first.",
    reading="α = 0 is the network of the first rate, α = 1 that of the second; both are on the grid. Each faint line "
    "is one pair, the strong line their mean on the axis's own scale, its band the pointwise 95 % interval.",
    shows=(
        "Figure 15: loss and accuracy between independent pairs, training and test",
        "the same for shared and aligned pairs, on the training examples",
        "barriers of loss and of error",
        "loss from start to solution",
    ),
    settings=Settings,
    plan=plan,
    derive=derive,
    claims=CLAIMS,
    figures=later("bathymetry.studies.interpolation_figures", "figures"),
    seen=later("bathymetry.studies.interpolation_figures", "seen"),
    protocol_data="mnist",
)
