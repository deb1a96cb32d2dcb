from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import xarray as xr
from pydantic import Field, PositiveFloat
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from bathymetry import models, probes, training
from bathymetry.charts import Reference, attrs, dots, lines
from bathymetry.claims import claim, majority
from bathymetry.core.showing import joined
from bathymetry.data import Data
from bathymetry.models import MLPConfig
from bathymetry.models.mlp import module_of, parameter_count
from bathymetry.stats.intervals import middle
from bathymetry.store.chunks import Chunk
from bathymetry.studies.arrays import each, in_percent
from bathymetry.studies.base import Drawn, Groups, JointMeasurement, Planned, PlannedEnsemble, figure
from bathymetry.studies.families import ImageStudy, vectors
from bathymetry.studies.settings import BatchSize, Epochs, Widths
from bathymetry.surface import LossSurface

ALPHAS = tuple(step / 20 for step in range(-20, 41))
QUANTITIES = ["loss, mean", "loss, line", "error, mean", "error, line"]  # of barriers, and what they are above
LINE = "loss, line"
DEFINITIONS = {"error, mean": "Above the mean of the ends", "error, line": "Above the straight line between the ends"}
AROUND = 0.1  # distance from an end within which accuracy must fall for a peak


@dataclass(frozen=True)
class Between:
    """Losses and accuracies on the lines between two ensembles, and barriers of the training examples."""

    network: MLPConfig
    examples: Data
    aligned: bool

    version: ClassVar[int] = 2

    @property
    def seconds(self) -> float:
        return _line_seconds(self.network, self.examples)

    def __call__(self, chunks: Sequence[Chunk]) -> xr.Dataset:
        first, second = (vectors(self.network, chunk, max(chunk.snapshots)) for chunk in chunks)
        if self.aligned:
            pairs = zip(first, second, strict=True)
            second = torch.stack([_aligned(self.network, one, other) for one, other in pairs])
        return _on_lines(self.network, self.examples, first, second, chunks[0].members)


@dataclass(frozen=True)
class FromTheStart:
    """The same on the lines between each member's initialisation and its solution."""

    network: MLPConfig
    examples: Data

    version: ClassVar[int] = 2

    @property
    def seconds(self) -> float:
        return _line_seconds(self.network, self.examples)

    def __call__(self, chunks: Sequence[Chunk]) -> xr.Dataset:
        (chunk,) = chunks
        start, end = (vectors(self.network, chunk, epoch) for epoch in (0, max(chunk.snapshots)))
        return _on_lines(self.network, self.examples, start, end, chunk.members)


def _line_seconds(network: MLPConfig, examples: Data) -> float:
    rows = len(ALPHAS) * (len(examples.train) + len(examples.test))
    return 9e-12 * rows * parameter_count(network.widths)


def _on_lines(network: MLPConfig, examples: Data, first: Tensor, second: Tensor, members: range) -> xr.Dataset:
    module = module_of(network)
    train, test = (
        probes.interpolate(LossSurface(module, "cross_entropy", half), first, second, ALPHAS)
        for half in (examples.train, examples.test)
    )
    assert train.accuracy is not None
    assert test.accuracy is not None
    assert train.error_barrier is not None
    assert train.error_barrier_above_line is not None
    rises = [train.barrier, train.barrier_above_line, train.error_barrier, train.error_barrier_above_line]
    along = ("split", "member", "alpha")
    return xr.Dataset(
        {
            "loss": (along, torch.stack([train.loss, test.loss]).numpy()),
            "accuracy": (along, torch.stack([train.accuracy, test.accuracy]).numpy()),
            "barrier": (("member", "quantity"), torch.stack(rises, dim=1).numpy()),
            "monotone": ("member", train.monotone.numpy()),
        },
        {"split": ["train", "test"], "member": list(members), "alpha": list(ALPHAS), "quantity": QUANTITIES},
    )


def _aligned(network: MLPConfig, first: Tensor, second: Tensor) -> Tensor:
    """Permute the hidden units of the second network to match those of the first."""
    if not bool(first.isfinite().all() and second.isfinite().all()):
        return second  # nothing matches a member that diverged; its line is NaN in any order of its units
    modules = module_of(network), module_of(network)
    for module, row in zip(modules, (first, second), strict=True):
        vector_to_parameters(row.clone(), module.parameters())
    return parameters_to_vector(models.align(*modules).parameters()).detach()


class Interpolation(ImageStudy):
    """What lies between two solutions?

    Networks trained at one learning rate are joined by straight lines in parameter space to networks trained at
    another, θ(α) = (1 − α)θ₁ + αθ₂, and loss and accuracy are measured along these lines and beyond their ends.
    Independent pairs differ in initialisation and batches; shared pairs have both in common; aligned pairs are the
    independent ones after permuting the hidden units of the second network to match the first.
    """

    reading = (
        "α = 0 is the network trained at the first learning rate, α = 1 the one trained at the second. Each faint line "
        "is one pair; the strong line is their mean on the axis's scale, the band its pointwise 95 % interval."
    )
    answered_by = ("between_two_solutions", "between_two_solutions", 1)
    presets = {
        "quick": {"members": 6, "train_examples": 5_000, "test_examples": 2_000, "epochs": 6},
        "smoke": {"members": 6, "data": "digits", "epochs": 2},
    }
    variables = {
        "alpha": attrs("α"),
        "from_start/alpha": attrs("α, from start to solution"),
        "barrier": attrs("barrier"),
        "monotone": attrs("whether the training loss never rises from α = 0 to 1"),
        "pairing": attrs("pairing"),
        "quantity": attrs("quantity, and what it is above"),
    }

    network: Widths = Field((30,), description="hidden widths, for example 30")
    first_rate: PositiveFloat = Field(1e-3, description="learning rate of Adam at α = 0")
    second_rate: PositiveFloat = Field(1e-2, description="learning rate of Adam at α = 1")
    batch_size: BatchSize = 25
    epochs: Epochs = 10

    def training(self) -> Mapping[str, Any]:
        return {
            "data": self.examples,
            "loss": "cross_entropy",
            "batch_size": self.batch_size,
            "epochs": self.epochs,
            "snapshots": (0,),
        }

    def plan(self) -> Planned:
        network, examples, count = self.mlp(self.network), self.examples, self.members

        def trained(end: str, rate: float, members: range) -> PlannedEnsemble:
            adam = training.Adam(lr=rate)
            return self.ensemble({"end": end}, network, group="training", members=members, optimizer=adam)

        first = trained("first", self.first_rate, range(count))
        same = trained("second, shared", self.second_rate, range(count))
        others = trained("second, independent", self.second_rate, range(count, 2 * count))
        yield from (first, same, others)
        for pairing, second in (("independent", others), ("shared", same), ("aligned", others)):
            between = Between(network, examples, aligned=pairing == "aligned")
            yield JointMeasurement({"pairing": pairing}, (first, second), between)
        for rate, one in ((self.first_rate, first), (self.second_rate, same)):
            yield JointMeasurement({"learning_rate": rate}, (one,), FromTheStart(network, examples), "from_start")

    def derive(self, results: Groups) -> Groups:
        examples = results["training"]["examples"]
        return results | {name: results[name].assign_coords(examples=examples) for name in ("main", "from_start")}

    @claim(
        "Accuracy peaks at α = 0 and at α = 1.",
        majority(
            f"independent pairs whose accuracy at both ends is above that {AROUND:g} to either side; for training and "
            "test examples"
        ),
        absolute=True,
    )
    def a(self, r: xr.Dataset) -> xr.DataArray:
        accuracy = r["accuracy"].sel(pairing="independent")
        places = [(end, end + side) for end in (0.0, 1.0) for side in (-AROUND, AROUND)]
        higher = [self._at(accuracy, end) > self._at(accuracy, near) for end, near in places]
        return xr.concat(higher, "place").all("place")

    @claim(
        "In between accuracy is lower.",
        majority(
            "independent pairs whose accuracy at α = ½ is below that at both ends; for training and test examples"
        ),
    )
    def b(self, r: xr.Dataset) -> xr.DataArray:
        first, half, second = (self._at(r["accuracy"].sel(pairing="independent"), alpha) for alpha in (0.0, 0.5, 1.0))
        return (half < first) & (half < second)

    def _at(self, values: xr.DataArray, alpha: float) -> xr.DataArray:
        return values.sel(alpha=alpha, method="nearest", drop=True)

    @figure("Loss and accuracy between independent solutions", number=15, main_finding=True)
    def between_two_solutions(self, r: xr.Dataset) -> Drawn:
        """The pale band is between the two networks, α = 0 and α = 1. Loss is on a logarithmic axis."""
        one, ends, accuracy = r.sel(pairing="independent"), self._ends(), in_percent(r["accuracy"])
        accuracy = accuracy.sel(pairing="independent")
        first, half, second = (middle(self._at(accuracy.sel(split="test"), alpha)) for alpha in (0.0, 0.5, 1.0))
        panels = lines(one["loss"], "alpha", "split", references=ends, span=(0.0, 1.0))
        panels += lines(accuracy, "alpha", "split", domain=(0.0, 100.0), references=ends, span=(0.0, 1.0))
        return panels, (
            f"Halfway between independent solutions the median test accuracy is {half} %; at the ends it is {first} % "
            f"({ends[0].label}) and {second} % ({ends[1].label})."
        )

    @figure("Training loss and test accuracy between independent, shared and aligned pairs", main_finding=True)
    def pairings(self, r: xr.Dataset) -> Drawn:
        """Alignment permutes hidden units, which leaves each network's function unchanged but not the line between the
        two.
        """
        r = r.sel(alpha=slice(-0.01, 1.01))
        loss, accuracy = r["loss"].sel(split="train"), in_percent(r["accuracy"].sel(split="test"))
        words = [f"{middle(one)} for {pairing}" for pairing, one in each(r["barrier"].sel(quantity=LINE), "pairing")]
        panels = [*lines(loss, "alpha", "pairing"), *lines(accuracy, "alpha", "pairing")]
        found = "Median barrier of the training loss above the straight line between the ends"
        return panels, f"{found}: {joined(words)} pairs."

    def _ends(self) -> list[Reference]:
        before = Reference(0.0, f"rate {self.first_rate:g}", "x", "start")
        return [before, Reference(1.0, f"rate {self.second_rate:g}", "x", "end")]

    @figure("Barriers of the training error, by the two definitions in use")
    def barriers(self, r: xr.Dataset) -> Drawn:
        """A barrier is the largest rise of the error for α between 0 and 1: above the mean of the two ends (Frankle et
        al. 2020), or above the straight line between them (Entezari et al. 2022). Each dot is one pair.
        """
        errors = in_percent(r["barrier"].sel(quantity=list(DEFINITIONS)))
        errors = errors.assign_coords(quantity=list(DEFINITIONS.values()))
        errors = errors.assign_attrs(attrs("rise of the training error", units="percentage points"))
        words = [f"{middle(one)} for {pairing}" for pairing, one in each(errors.isel(quantity=1), "pairing")]
        found = f"Median barrier of training error above the line between the ends: {joined(words)} pairs, in points."
        return dots(errors, "pairing", facet="quantity", each="pair"), found

    @figure("Training loss from initialisation to solution", group="from_start", main_finding=True)
    def from_start(self, start: xr.Dataset) -> Drawn:
        """Loss along the straight line from each member's initialisation to its solution, on a logarithmic axis."""
        loss = start["loss"].sel(split="train", alpha=slice(-0.01, 1.01))
        falls = each(start["monotone"].astype(bool), "learning_rate")
        words = [f"{int(one.sum())} of {one.size} members at rate {rate:g}" for rate, one in falls]
        rates = [f"rate {rate:g}" for rate, _ in falls]
        panels = lines(loss.assign_coords(rate=("learning_rate", rates)), "alpha", "rate")
        return panels, f"From initialisation to solution the training loss never rises for {joined(words)}."
