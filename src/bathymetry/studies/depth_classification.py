from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from pydantic import Field

from bathymetry import models, stats, training
from bathymetry.charts import Figure, attrs, lines
from bathymetry.claims import best_of, claim, majority, median_in_interval
from bathymetry.core.showing import joined, label
from bathymetry.models.mlp import parameter_count
from bathymetry.stats import intervals
from bathymetry.stats.wording import as_percent
from bathymetry.studies.arrays import each, listed, means
from bathymetry.studies.base import Drawn, FigureMark, Groups, Planned, figure
from bathymetry.studies.families import DEPTHS, ImageStudy, unequal_parameters
from bathymetry.studies.settings import BatchSize, Distinct, Epochs, LearningRate, Networks, network_name, network_names
from bathymetry.training import TrainingState

NETWORKS: Networks = ((30,), (25, 60, 38), (20, 40, 60, 50, 30))
INPUTS, CLASSES = 784, 10  # of MNIST, for which these networks have equal parameters


@dataclass(frozen=True)
class LastBatchLoss:
    """The loss of the last mini-batch, which is what a training loop usually prints; NaN before the first."""

    def __call__(self, state: TrainingState) -> torch.Tensor:
        return state.batch_loss


class DepthClassification(ImageStudy):
    """At equal parameters, do deep networks classify images better than shallow ones?

    Networks of different depths, by default with about 23,900 parameters each, are trained to classify images by Adam
    on mini-batches. After every epoch, loss and accuracy are computed on the whole training and test sets.
    """

    chapter = "Part 1: depth"
    reading = f"{ImageStudy.reading} Accuracies are on a logit axis, which resolves values close to 100 %."
    presets = {
        "quick": {"members": 6, "train_examples": 10_000, "test_examples": 5_000, "epochs": 30},
        "smoke": {"members": 6, "data": "digits", "epochs": 4},
    }
    # claims with numbers name the networks that they are about
    ignored_by_claims = ImageStudy.ignored_by_claims | {"networks"}
    variables = {"last_batch_loss": attrs("loss of the last mini-batch (cross-entropy)", "log")}

    networks: Distinct[Networks] = Field(NETWORKS, description="hidden widths of each network, for example 30 25,60,38")
    learning_rate: LearningRate = 1e-3
    batch_size: BatchSize = 50
    epochs: Epochs = 120

    def training(self) -> Mapping[str, Any]:
        return {
            "data": self.examples,
            "loss": "cross_entropy",
            "optimizer": training.Adam(lr=self.learning_rate),
            "batch_size": self.batch_size,
            "epochs": self.epochs,
            "measurements": {"last_batch_loss": LastBatchLoss()},
        }

    def plan(self) -> Planned:
        names, networks = network_names(self.networks, NETWORKS, DEPTHS), self._widths()
        for name, widths in zip(names, networks, strict=True):
            yield self.ensemble({"network": name}, models.MLPConfig(widths))
        if not self._is_solved:
            yield from unequal_parameters(networks)
            return
        for name, hidden, widths in zip(names, self.networks, networks, strict=True):
            budget = parameter_count((INPUTS, *hidden, CLASSES))
            yield (
                f"For {widths[0]} inputs and {widths[-1]} classes the {name} network is {network_name(widths)}: "
                f"{parameter_count(widths):,} parameters for a budget of {budget:,}."
            )

    @property
    def _is_solved(self) -> bool:
        """Whether the data are of another size than MNIST, so that a solver keeps the networks' parameter counts."""
        own = self.mlp(self.networks[0]).widths
        return self.networks == NETWORKS and (own[0], own[-1]) != (INPUTS, CLASSES)

    def _widths(self) -> list[tuple[int, ...]]:
        """All widths of each network; networks of the user's own stay as they are."""
        own = [self.mlp(hidden).widths for hidden in self.networks]
        if not self._is_solved:
            return own
        budgets = [parameter_count((INPUTS, *hidden, CLASSES)) for hidden in self.networks]
        return [
            tuple(models.fit_budget(budget, widths[0], widths[-1], len(widths) - 2, widths[1:-1]))
            for budget, widths in zip(budgets, own, strict=True)
        ]

    def derive(self, results: Groups) -> Groups:
        counts = [parameter_count(widths) for widths in self._widths()]
        return {"main": results["main"].assign_coords(parameters=("network", counts))}

    @claim(
        "Training accuracy is above test accuracy.",
        majority("members whose training accuracy is above their test accuracy at epoch 100 or the last").for_each(
            network=DEPTHS, own=True
        ),
    )
    def a(self, r: xr.Dataset) -> xr.DataArray:
        accuracy = r["accuracy"].sel(epoch=min(100, self.epochs))
        return accuracy.sel(split="train") > accuracy.sel(split="test")

    @claim(
        "The middle network has the best test accuracy.",
        best_of(
            "test accuracy at epoch 100, middle above shallow and deep",
            ["middle"],
            ["shallow", "deep"],
            dim="network",
            relation="above",
        ),
        absolute=True,
    )
    def b(self, r: xr.Dataset) -> xr.DataArray:
        return r["accuracy"].sel(split="test", epoch=100)

    @claim(
        "Test accuracy flattens at 95 to 96 %.",
        median_in_interval(
            "the average of epochs 91 to 100 lies in 94.5 to 96.5 %", 0.945, 0.965, as_percent=True
        ).for_each(network=DEPTHS),
        absolute=True,
    )
    def c(self, r: xr.Dataset) -> xr.DataArray:
        return r["accuracy"].sel(split="test", epoch=slice(91, 100)).mean("epoch", skipna=False)

    @claim(
        "Training accuracy reaches 99 %.",
        majority("members whose best training accuracy by epoch 100 is at least 98.5 %").for_each(network=DEPTHS),
        absolute=True,
    )
    def d(self, r: xr.Dataset) -> xr.DataArray:
        return r["accuracy"].sel(split="train", epoch=slice(1, 100)).max("epoch") >= 0.985

    @claim(
        "The networks have converged by about 100 epochs.",
        majority("members whose training loss falls by less than 10 % from epoch 100 to 120").for_each(network=DEPTHS),
        absolute=True,
    )
    def e(self, r: xr.Dataset) -> xr.DataArray:
        loss = r["loss"].sel(split="train")
        return loss.sel(epoch=120) > 0.9 * loss.sel(epoch=100)

    answered_by = ("accuracy", "accuracy", 1)

    @figure("Training loss", number=5)
    def training_loss(self, r: xr.Dataset) -> Drawn:
        """The loss axis is logarithmic. The loss is that of the whole training set; the grey lines are the first
        member's losses on its last mini-batch, which is what a training loop usually prints.
        """
        loss, noisy = r["loss"].sel(split="train"), r["last_batch_loss"].isel(member=0, drop=True)
        panels = lines(loss, "epoch", "network", behind=noisy, behind_label="last mini-batch, first member", height=240)
        final = means(loss.isel(epoch=-1), "network")
        return panels, f"After {self.epochs} epochs the geometric mean of the training loss is {final}."

    @figure("Training and test accuracy", number=6, main_finding=True)
    def accuracy(self, r: xr.Dataset) -> Drawn:
        """Both panels have one axis of accuracy, on the logit scale. Members with an accuracy of 100 % leave the panel,
        which ends at the top of the means' intervals.
        """
        shown = r["accuracy"].isel(epoch=slice(1, None))
        lows, highs = zip(*(self._domain(one) for _, one in each(shown, "split")), strict=True)
        panels = lines(shown, "epoch", "network", facet="split", domain=(min(lows), max(highs)))
        return panels, self._at_the_end(r, "test")

    @staticmethod
    def _domain(accuracy: xr.DataArray) -> tuple[float, float]:
        """Reach over all members; where one gets everything right, only to the top of the means' intervals."""
        values = accuracy.transpose("member", "network", "epoch").values
        band = stats.mean_interval(values, 0, intervals.logit_accuracy(int(accuracy["examples"])))
        tops = np.where(np.isfinite(band.high), band.high, band.centre) if np.nanmax(values) == 1 else values
        return float(np.nanmin(values)), float(np.nanmax(tops))

    @staticmethod
    def _at_the_end(r: xr.Dataset, split: str) -> str:
        last, words = r["accuracy"].sel(split=split).isel(epoch=-1), []
        transform = intervals.logit_accuracy(int(last["examples"]))
        for name, one in each(last, "network"):
            band = stats.mean_interval(one.values, transform=transform)
            words.append(f"{as_percent(band.centre)} ({name}, {100 * float(band.low):.1f}–{as_percent(band.high)})")
        return f"After {int(last['epoch'])} epochs the mean {label(split)} accuracy is {joined(words)}."

    def main_findings(self, results: xr.DataTree, drawn: Sequence[tuple[FigureMark, Figure]]) -> tuple[str, ...]:
        r = results["main"].to_dataset()
        loss = r["loss"].sel(split="test").transpose("member", "network", "epoch")
        centres = loss[0].copy(data=stats.mean_interval(loss.values, 0, intervals.LOG).centre)
        lowest = listed(centres["epoch"][centres.argmin("epoch")], "network", "{:.0f}")
        best = f"The mean test loss is lowest at epoch {lowest}."
        return (*super().main_findings(results, drawn), self._at_the_end(r, "train"), best)
