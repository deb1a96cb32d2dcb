import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import xarray as xr
from pydantic import Field, PositiveInt

from bathymetry import data, training
from bathymetry.charts import Reference, attrs, lines, scatter
from bathymetry.claims import claim, exists, majority
from bathymetry.core.errors import InputError
from bathymetry.core.showing import joined
from bathymetry.data import Data
from bathymetry.models.mlp import parameter_count
from bathymetry.stats.intervals import middle
from bathymetry.stats.wording import number
from bathymetry.studies.arrays import at_the_end, each, in_percent
from bathymetry.studies.base import Drawn, Groups, Planned, figure
from bathymetry.studies.families import ImageStudy, NoisyLabels, NoisyTraining
from bathymetry.studies.settings import BatchSize, Distinct, LearningRate, Networks, Widths, network_name

IMAGES = (500, 1_000, 4_000, 10_000)
NETWORKS: Networks = ((16,), (64,), (512,), (512, 512))
ENOUGH = 0.99  # training accuracy at which labels count as memorised
ENOUGH_IMAGES, ABOVE_CHANCE = 1_000, 0.10
STOP = 0.999
WHOLE = (0.0, 104.0)  # per cent, with room for a mark at 100
EVERY = 5  # epochs between two records of what is memorised
SETS = {"train": "training, random labels", "random": "test, random labels", "true": "test, true labels"}


@dataclass(frozen=True)
class RandomTest:
    """The test examples with labels drawn uniformly for each member."""

    examples: Data
    seed: int

    def __call__(self, members: range) -> training.EvaluationSet:
        test = self.examples.test
        assert self.examples.classes is not None
        # another seed, so that they are independent of the training labels
        drawn = data.label_noise(test.targets, 1.0, self.examples.classes, members, self.seed + 1)
        return training.EvaluationSet(test, drawn)


class RandomLabels(ImageStudy):
    """Can a network fit labels that mean nothing?

    A small network is trained on images whose labels are drawn at random, separately for each member. It is evaluated
    on its training labels, and on test images with random and with true labels. One small network cannot answer the
    question, so networks of several sizes are also trained to memorise random labels for several numbers of images.
    """

    reading = f"With ten classes, a network that guesses uniformly has the loss ln 10. {ImageStudy.reading}"
    answered_by = ("memorisation", "memorisation", 0, 0, -1)
    presets = {
        "quick": dict(
            members=6,
            train_examples=5_000,
            test_examples=2_000,
            epochs=20,
            memorisation_epochs=60,
            images=(500, 1_000),
            networks=NETWORKS[:3],
        ),
        "smoke": dict(
            members=6, data="digits", epochs=3, memorisation_epochs=10, images=(100, 200), networks=NETWORKS[:2]
        ),
    }
    # the claim with a number is about the memorisation grid alone
    ignored_by_claims = ImageStudy.ignored_by_claims | {"network", "epochs", "test_examples", "memorisation_members"}
    variables = {
        "images": attrs("images to memorise", "log"),
        "memorised_accuracy": attrs("training accuracy"),
        "bits": attrs("information in the labels", "log", "bits"),
        "classes": attrs("classes"),
    }

    network: Widths = Field((10, 15), description="hidden widths, for example 10,15")
    learning_rate: LearningRate = 1e-3
    batch_size: BatchSize = 50
    epochs: int = Field(140, ge=2, description="passes over the training examples")
    images: Distinct[tuple[PositiveInt, ...]] = Field(IMAGES, description="numbers of images to memorise")
    networks: Distinct[Networks] = Field(NETWORKS, description="hidden widths of each network that memorises")
    memorisation_members: PositiveInt = Field(6, le=100_000, description="members of each network that memorises")
    memorisation_epochs: PositiveInt = Field(300, description="largest number of passes over the images to memorise")

    def training(self) -> Mapping[str, Any]:
        return {"loss": "cross_entropy", "optimizer": training.Adam(lr=self.learning_rate)}

    def plan(self) -> Planned:
        examples = self.examples
        if max(self.images) > len(examples.train):
            remedy = f"expected at most {len(examples.train):,}, the number of training examples"
            raise InputError("images", max(self.images), remedy)
        labels = NoisyLabels(examples, 1.0, self.data_seed)
        yield self.ensemble(
            {},
            self.mlp(self.network),
            data=examples,
            epochs=self.epochs,
            batch_size=self.batch_size,
            targets=labels,
            evaluate_on=dict(
                train=NoisyTraining(labels), random=RandomTest(examples, self.data_seed), true=examples.test
            ),
        )
        for images in self.images:
            few = data.subset(examples, images, len(examples.test), self.data_seed)
            few_labels = NoisyLabels(few, 1.0, self.data_seed)
            for hidden in self.networks:
                yield self.ensemble(
                    {"images": images, "network": network_name(hidden)},
                    self.mlp(hidden),
                    group="memorisation",
                    members=range(self.memorisation_members),
                    data=few,
                    epochs=self.memorisation_epochs,
                    batch_size=min(self.batch_size, images),
                    targets=few_labels,
                    evaluate_on={"train": NoisyTraining(few_labels)},
                    stop=training.StopWhen("train_accuracy", at_least=STOP),
                    record_at=range(0, self.memorisation_epochs + 1, EVERY),
                )

    def derive(self, results: Groups) -> Groups:
        grid, classes = results["memorisation"], self.num_classes
        counts = [parameter_count(self.mlp(hidden).widths) for hidden in self.networks]
        grid = grid.assign(
            memorised_accuracy=at_the_end(grid["accuracy"].sel(split="train", drop=True)).where(~grid["diverged"]),
            bits=("images", [images * math.log2(classes) for images in self.images]),
            classes=classes,
        ).assign_coords(parameters=("network", counts))
        return {"main": results["main"].assign(classes=classes), "memorisation": grid}

    @claim(
        "The training loss falls with the epochs.",
        majority("members whose training loss at the last epoch is below that at epoch 1"),
    )
    def a(self, r: xr.Dataset) -> xr.DataArray:
        loss = r["loss"].sel(split="train")
        return loss.isel(epoch=-1) < loss.sel(epoch=1)

    @claim(
        "The test loss rises with the epochs.",
        majority("members whose loss on test examples with random labels is higher at the last epoch than at epoch 1"),
    )
    def b(self, r: xr.Dataset) -> xr.DataArray:
        loss = r["loss"].sel(split="random")
        return loss.isel(epoch=-1) > loss.sel(epoch=1)

    @claim(
        "Networks cannot fit random labels.",
        exists(
            "the training accuracy that members reach in each cell of the memorisation grid with at least 1,000 images",
            "contradicted",
            condition="reach 99 %",
            sign="gets 10 points above chance",
            cell=f"cell of the memorisation grid with at least {ENOUGH_IMAGES:,} images",
            named="{images:,} images, hidden {network}",
        ),
        group="memorisation",
        absolute=True,
    )
    def c(self, grid: xr.Dataset) -> xr.Dataset:
        accuracy = grid["memorised_accuracy"].sel(images=grid["images"] >= ENOUGH_IMAGES)
        above = accuracy > 1 / int(grid["classes"]) + ABOVE_CHANCE
        return xr.Dataset({"condition": accuracy >= ENOUGH, "sign": above})

    @figure("Loss by epoch with random labels", number=12, main_finding=True)
    def random_labels(self, r: xr.Dataset) -> Drawn:
        """Each member has its own random labels. Epoch 0 is the initialisation."""
        classes = int(r["classes"])
        uniform = Reference(math.log(classes), f"uniform guess, ln {classes}")
        named = r["loss"].assign_coords(labels=("split", [SETS[one] for one in r["split"].values.tolist()]))
        ends = r["loss"].isel(epoch=-1)
        train, random, true = (middle(ends.sel(split=one)) for one in SETS)
        return lines(named, "epoch", "labels", scale="linear", interval="end", references=[uniform]), (
            f"After {int(r['epoch'].max())} epochs the median loss is {train} in training and {random} on random test "
            f"labels ({true} on true ones); a uniform guess has {number(math.log(classes), 3)}."
        )

    @figure("Memorised labels by number of images", group="memorisation", main_finding=True)
    def memorisation(self, grid: xr.Dataset) -> Drawn:
        """Small dots are members, trained to an accuracy of 99.9 % or for the maximum number of epochs."""
        most = int(grid["images"].max())
        ranked = grid["memorised_accuracy"].sel(images=most).sortby("parameters")
        ends = ranked if ranked.sizes["network"] == 1 else ranked.isel(network=[0, -1])
        shares = [f"{middle(100 * one)} % (hidden {name})" for name, one in each(ends, "network")]
        chance = self._chance(grid)
        panels = lines(self._memorised(grid), "images", "hidden", domain=WHOLE, references=chance, members="dots")
        return panels, f"Networks memorise a median of {joined(shares)} of {most:,} random labels."

    @figure("Memorised labels by parameters per label bit", group="memorisation")
    def memorisation_by_parameters(self, grid: xr.Dataset) -> Drawn:
        """Each mark is one member. n labels of c classes take n log₂ c bits, 3.32 each with ten classes."""
        per_bit, memorised = grid["parameters"] / grid["bits"], self._memorised(grid)
        across = per_bit.broadcast_like(memorised).assign_attrs(attrs("parameters per label bit", "log"))
        x, y = (
            one.rename(member="seed").stack(member=("images", "seed"), create_index=False)
            for one in (across.assign_coords(memorised.coords), memorised)
        )
        panels = scatter(x, y, "hidden", y_domain=WHOLE, references=self._chance(grid))
        every = (grid["memorised_accuracy"] >= ENOUGH).all("member")
        enough = per_bit.where(per_bit > per_bit.where(~every).max().fillna(0))
        if enough.isnull().all():
            return panels, "At no number of parameters per label bit did every network memorise 99 % of the labels."
        fewest = number(enough.min())
        return panels, f"With at least {fewest} parameters per label bit, every network memorised 99 % of the labels."

    def _memorised(self, grid: xr.Dataset) -> xr.DataArray:
        hidden = [f"hidden {name}" for name in grid["network"].values.tolist()]
        shares = grid["memorised_accuracy"].assign_coords(hidden=("network", hidden))
        return in_percent(shares.assign_attrs(attrs("memorised labels")))

    def _chance(self, grid: xr.Dataset) -> list[Reference]:
        return [Reference(100 / int(grid["classes"]), "chance")]
