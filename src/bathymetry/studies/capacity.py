from collections.abc import Mapping
from itertools import product
from typing import Any

import xarray as xr
from pydantic import Field, PositiveInt

from bathymetry import data, training
from bathymetry.charts import Reference, lines
from bathymetry.charts.figure import Panel
from bathymetry.claims import claim, median_sign
from bathymetry.core.errors import InputError
from bathymetry.core.showing import joined
from bathymetry.models.mlp import parameter_count
from bathymetry.stats.intervals import middle
from bathymetry.studies.arrays import each, in_percent, last, leaders, on_scale, slopes
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
FITS = 0.999  # training accuracy at which a network interpolates
LARGEST = 5  # networks over which performance is said to keep improving
SLOPE = "each member's slope on log parameters over the five largest networks, of log loss and of logit accuracy"


class Capacity(ImageStudy):
    """Do more parameters generalise better?

    Networks of many sizes, by default with 1,645 to 952,410 parameters, are trained on the same images for the same
    number of epochs. In the small-sample regime, networks with one hidden layer are trained on few images for many
    epochs, with true labels and with partly random ones. There the test loss may rise and then fall again as networks
    grow (double descent).
    """

    answered_by = ("by_parameters", "by_parameters", 0, 1)
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
        median_sign(f"{SLOPE}; training", loss="below", accuracy="above"),
        absolute=True,
    )
    def a(self, r: xr.Dataset) -> xr.Dataset:
        return self._improvement(r.sel(split="train"))

    @claim(
        "Test performance keeps improving with parameters.",
        median_sign(f"{SLOPE}; test", loss="below", accuracy="above"),
        absolute=True,
    )
    def b(self, r: xr.Dataset) -> xr.Dataset:
        return self._improvement(r.sel(split="test"))

    def _improvement(self, half: xr.Dataset) -> xr.Dataset:
        return xr.Dataset({of: slopes(on_scale(half[of]), half["parameters"], LARGEST) for of in ("loss", "accuracy")})

    @claim(
        "The gap between test and training loss grows.",
        median_sign("each member's slope of test loss minus training loss on log parameters, over all networks"),
    )
    def c(self, r: xr.Dataset) -> xr.DataArray:
        gap = r["loss"].sel(split="test") - r["loss"].sel(split="train")
        return slopes(gap.assign_attrs(long_name="the gap on log parameters"), r["parameters"])

    @figure("Loss and accuracy by number of parameters", number=(13, 14), main_finding=True)
    def by_parameters(self, r: xr.Dataset) -> Drawn:
        """Every network is trained for the same number of epochs. A logit axis resolves accuracies close to 100 %."""
        test = r.sel(split="test").sortby("parameters")
        loss, accuracy = (test[of].swap_dims(network="parameters") for of in ("loss", "accuracy"))
        (low, fewest), (high, best) = leaders(loss, "parameters", lowest=True), leaders(accuracy, "parameters")
        largest = f"{int(loss['parameters'][-1]):,}"
        least, end_loss = (middle(loss[{"parameters": place}]) for place in (low, -1))
        most = middle(100 * accuracy[{"parameters": high}])
        panels = lines(r["loss"], "parameters", "split") + lines(r["accuracy"], "parameters", "split")
        end = "" if fewest.endswith(largest) else f"; {end_loss} with {largest}"
        return panels, (
            f"Test loss is lowest with {fewest} parameters (median {least}{end}), test accuracy is highest with "
            f"{best} ({most} %)."
        )

    @figure("Loss and accuracy on few images, by number of parameters", group="regime", main_finding=True)
    def few_images(self, few: xr.Dataset) -> Drawn:
        """One hidden layer, trained on few images for many epochs. Training examples have their noisy labels, test
        examples the true ones. Upright lines are interpolation thresholds: the smallest network of which every member
        fits 99.9 % of its training labels.
        """
        few = few.sortby("parameters").swap_dims(label_noise="noise")
        fits = (few["accuracy"].sel(split="train") >= FITS).all("member")
        marks = [
            Reference(int(few["parameters"][one.argmax("hidden")]), f"interpolation, {noise}", "x")
            for noise, one in each(fits, "noise")
            if one.any()
        ]
        panels = list[Panel]()
        for split, of in product(("test", "train"), ("loss", "accuracy")):
            one = few[of].sel(split=split) if of == "loss" else in_percent(few[of].sel(split=split))
            drawn = [] if (split, of) == ("test", "accuracy") else marks  # where its lines leave no room for labels
            panels += lines(one, "parameters", "noise", references=drawn, height=220)
        rises, lows = list[str](), list[str]()
        for noise, one in each(few["loss"].sel(split="test"), "noise"):
            peak = _second_peak(one.transpose("hidden", "member"))
            _, low = leaders(one.swap_dims(hidden="parameters"), "parameters", lowest=True)
            lows.append(f"{low}{'' if lows else ' parameters'} ({noise})")
            if peak is not None:
                count = f"{int(one['parameters'][peak]):,}{'' if rises else ' parameters'}"
                rises.append(f"{middle(one.isel(hidden=peak))} at {count} ({noise})")
        on = f"On {int(few['examples'].sel(split='train')):,} images"
        if rises:
            return panels, f"{on} every network's test loss rises again, to {joined(rises)}, then falls."
        return panels, f"{on} the networks share no second descent; test loss is lowest with {joined(lows)}."


def _second_peak(loss: xr.DataArray) -> int | None:
    """The highest point of a rise after a fall and before a fall, if every member's loss rises and falls so."""
    middles, places = loss.median("member").values, range(1, loss.sizes["hidden"] - 1)
    sides = {place: (int(middles[:place].argmin()), place + 1 + int(middles[place + 1 :].argmin())) for place in places}
    heights = {place: min(middles[place] - middles[list(ends)]) for place, ends in sides.items()}
    peak = max(heights, key=lambda place: heights[place], default=None)
    if peak is None:
        return None
    return peak if bool((loss[peak] > loss[list(sides[peak])]).all()) else None
