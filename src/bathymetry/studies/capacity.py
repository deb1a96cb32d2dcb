from collections.abc import Mapping
from itertools import product
from typing import Any, Literal

import xarray as xr
from pydantic import Field, PositiveInt

from bathymetry import data, training
from bathymetry.charts import Reference, lines
from bathymetry.claims import claim, mean_sign
from bathymetry.core.errors import InputError
from bathymetry.core.showing import joined
from bathymetry.models.mlp import parameter_count
from bathymetry.studies.arrays import each, highest, last, lowest, number, on_scale, percent, slopes
from bathymetry.studies.base import Drawn, Groups, Planned, figure
from bathymetry.studies.families import ImageStudy, NoisyLabels, NoisyTraining
from bathymetry.studies.settings import BatchSize, Distinct, Epochs, LearningRate, Networks, network_name

NETWORKS: Networks = (
    (2, 5),
    (4, 8),
    (10, 20),
    (20, 30),
    (50, 25),
    (100, 50),
    (200, 100),
    (400, 200),
    (600, 300),
    (800, 400),
)
HIDDEN = (2, 5, 10, 20, 30, 40, 50, 60, 80, 120, 250, 500)
LARGEST = 5  # networks over which performance is said to keep improving
SLOPE = "each member's slope on log parameters over the five largest networks, of log loss and of logit accuracy"


class Capacity(ImageStudy):
    """Do more parameters generalise better?

    Networks of many sizes, by default with 1,645 to 952,410 parameters, are trained on the same images for the same
    number of epochs. In the small-sample regime, networks with one hidden layer are trained on few images for many
    epochs, with true labels and with partly random ones. There the test loss may rise and then fall again as networks
    grow (double descent).
    """

    answered_by = ("loss_by_parameters", "loss_by_parameters", 0)
    presets = {
        "quick": dict(
            members=6,
            train_examples=2_000,
            test_examples=1_000,
            epochs=4,
            few_examples=300,
            few_epochs=40,
            hidden=(2, 5, 10, 30, 120),
        ),
        "smoke": dict(
            members=6, data="digits", epochs=2, networks=NETWORKS[:5], few_examples=100, few_epochs=3, hidden=(2, 10)
        ),
    }
    # no claim with a number is about the small-sample regime
    ignored_by_claims = ImageStudy.ignored_by_claims | {
        "few_examples",
        "hidden",
        "label_noise",
        "few_members",
        "few_epochs",
    }

    networks: Distinct[Networks] = Field(
        NETWORKS, min_length=LARGEST, description="hidden widths of each network, for example 2,5 4,8"
    )
    learning_rate: LearningRate = 1e-3
    batch_size: BatchSize = 50
    epochs: Epochs = 50
    few_examples: PositiveInt = Field(4_000, description="training examples of the small-sample regime")
    hidden: Distinct[tuple[PositiveInt, ...]] = Field(
        HIDDEN, min_length=2, description="hidden units of each network in the small-sample regime"
    )
    label_noise: Distinct[tuple[float, ...]] = Field(
        (0.0, 0.2), description="shares of the labels drawn at random in the small-sample regime"
    )
    few_members: PositiveInt = Field(6, le=100_000, description="members of each network in the small-sample regime")
    few_epochs: PositiveInt = Field(400, description="passes over the examples of the small-sample regime")

    def training(self) -> Mapping[str, Any]:
        return {
            "data": self.examples,
            "loss": "cross_entropy",
            "optimizer": training.Adam(lr=self.learning_rate),
            "batch_size": self.batch_size,
            "epochs": self.epochs,
            "record_at": (),
        }

    def plan(self) -> Planned:
        images = self.examples
        if self.few_examples > len(images.train):
            remedy = f"expected at most {len(images.train):,}, the number of training examples"
            raise InputError("few_examples", self.few_examples, remedy)
        for share in self.label_noise:
            if not 0 <= share <= 1:
                raise InputError("label_noise", share, "expected shares from 0 to 1")
        for widths in self.networks:
            yield self.ensemble({"network": network_name(widths)}, self.mlp(widths))
        few = data.subset(images, self.few_examples, len(images.test), self.data_seed)
        for share, units in product(self.label_noise, self.hidden):
            labels = NoisyLabels(few, share, self.data_seed)
            yield self.ensemble(
                {"label_noise": share, "hidden": units},
                self.mlp((units,)),
                group="regime",
                members=range(self.few_members),
                data=few,
                epochs=self.few_epochs,
                batch_size=min(self.batch_size, self.few_examples),
                targets=labels,
                evaluate_on={"train": NoisyTraining(labels), "test": few.test},
            )

    def derive(self, results: Groups) -> Groups:
        whole, few = (last(results[name]) for name in ("main", "regime"))
        counts = [parameter_count(self.mlp(widths).widths) for widths in self.networks]
        narrow = [parameter_count(self.mlp((units,)).widths) for units in self.hidden]
        noise = [f"{100 * share:g} % label noise" if share else "no label noise" for share in self.label_noise]
        few = few.assign_coords(parameters=("hidden", narrow), noise=("label_noise", noise))
        return {
            "main": whole.assign_coords(parameters=("network", counts)),
            "regime": few.assign(classes=self.num_classes),
        }

    @claim(
        "Training performance keeps improving with parameters.",
        mean_sign(f"{SLOPE}; training", loss="below", accuracy="above"),
        absolute=True,
    )
    def a(self, r: xr.Dataset) -> xr.Dataset:
        return self._improvement(r.sel(split="train"))

    @claim(
        "Test performance keeps improving with parameters.",
        mean_sign(f"{SLOPE}; test", loss="below", accuracy="above"),
        absolute=True,
    )
    def b(self, r: xr.Dataset) -> xr.Dataset:
        return self._improvement(r.sel(split="test"))

    def _improvement(self, half: xr.Dataset) -> xr.Dataset:
        return xr.Dataset({of: slopes(on_scale(half[of]), half["parameters"], LARGEST) for of in ("loss", "accuracy")})

    @claim(
        "The gap between test and training loss grows.",
        mean_sign("each member's slope of test loss minus training loss on log parameters, over all networks"),
    )
    def c(self, r: xr.Dataset) -> xr.DataArray:
        gap = r["loss"].sel(split="test") - r["loss"].sel(split="train")
        return slopes(gap.assign_attrs(long_name="the gap on log parameters"), r["parameters"])

    @figure("Loss by number of parameters", number=13, main_finding=True)
    def loss_by_parameters(self, r: xr.Dataset) -> Drawn:
        """Both axes are logarithmic. Every network is trained for the same number of epochs."""
        return lines(r["loss"], "parameters", "split"), self._best(r["loss"])

    @figure("Accuracy by number of parameters", number=14, main_finding=True)
    def accuracy_by_parameters(self, r: xr.Dataset) -> Drawn:
        """Accuracy is on a logit axis, which resolves values close to 100 %."""
        return lines(r["accuracy"], "parameters", "split"), self._best(r["accuracy"])

    def _best(self, values: xr.DataArray) -> str:
        is_loss = values.name == "loss"
        what = "lowest median test loss" if is_loss else "highest median test accuracy"
        middle = values.sel(split="test").median("member").sortby("parameters")
        best, last = lowest(middle) if is_loss else highest(middle), middle[-1]
        shown, end = (number(one) if is_loss else percent(one, 2) for one in (best, last))
        count, largest = int(best["parameters"]), int(last["parameters"])
        if count == largest:
            return f"The largest network ({count:,} parameters) has the {what}, {shown}."
        return f"The network with {count:,} parameters has the {what}, {shown}; the largest ({largest:,}) has {end}."

    @figure("Loss in the small-sample regime", group="regime", main_finding=True)
    def few_examples_loss(self, few: xr.Dataset) -> Drawn:
        """One hidden layer, trained on few images for many epochs. Training loss uses the training labels, noise
        included; test loss uses the true labels.
        """
        middle = few["loss"].sel(split="test").median("member").sortby("parameters")
        peaks = [highest(one) for _, one in each(middle, "label_noise")]
        words = [f"{number(one)} with {int(one['parameters']):,} parameters ({one['noise'].item()})" for one in peaks]
        loss = few["loss"].sel(split=["test", "train"])
        panels = lines(loss, "parameters", "noise", facet="split", references=self._labels(few))
        return panels, f"Largest median test loss on few examples: {joined(words)}."

    @figure("Accuracy in the small-sample regime", group="regime")
    def few_examples_accuracy(self, few: xr.Dataset) -> Drawn:
        """Training accuracy uses the training labels, noise included: at 100 % a network has memorised the wrong ones
        too.
        """
        accuracy = few["accuracy"].sel(split=["test", "train"])
        largest = accuracy.sel(split="test").median("member").sortby("parameters").isel(hidden=-1)
        words = [f"{percent(one)} with {one['noise'].item()}" for _, one in each(largest, "label_noise")]
        panels = lines(accuracy, "parameters", "noise", facet="split", scale="linear", references=self._labels(few))
        return panels, f"The median test accuracy of the largest network is {joined(words)}."

    def _labels(self, few: xr.Dataset) -> list[Reference]:
        count = int(few["examples"].sel(split="train")) * int(few["classes"])
        fewest, most = int(few["parameters"].min()), int(few["parameters"].max())
        at: Literal["start", "end"] = "end" if count**2 < fewest * most else "start"
        return [Reference(count, "images × classes", "x", at)] if fewest <= count <= most else []
