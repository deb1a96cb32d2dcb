import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
import xarray as xr
from pydantic import Field, PositiveInt

from bathymetry import data, models, probes, training
from bathymetry.charts import attrs, dots, lines
from bathymetry.charts.figure import Panel
from bathymetry.claims import best_of, claim, median_sign
from bathymetry.claims.rules import Rule
from bathymetry.core.errors import InputError
from bathymetry.core.showing import joined
from bathymetry.models.mlp import module_of, parameter_count
from bathymetry.stats import Part
from bathymetry.stats.intervals import change
from bathymetry.store.chunks import Chunk
from bathymetry.studies.arrays import at_the_end, each, leaders, on_scale, slopes
from bathymetry.studies.base import Drawn, Groups, JointMeasurement, Planned, figure
from bathymetry.studies.families import ImageStudy, vectors
from bathymetry.studies.settings import Distinct, LearningRate, Widths
from bathymetry.surface import LossSurface

MATCHINGS = ("epochs", "steps")
SENSITIVITIES: tuple[Literal["loss", "logits", "probabilities"], ...] = ("loss", "logits", "probabilities")
SHARPNESSES = {"keskar": "Keskar's sharpness", "eigenvalue": "Largest eigenvalue", "trace": "Trace of the Hessian"}
SIZES = (5, 25, 125, 500, 1_500)
SMALL = SIZES[:4]
TRAINED = 0.5  # of the best training accuracy; a batch size that ends below this share is hardly trained


def _best(quantity: str) -> Rule:
    relation: Literal["above", "below"] = "below" if "loss" in quantity else "above"
    what = f"{quantity}: batch 125 or 500 beats each of 5, 25 and 1,500; at equal epochs"
    return best_of(what, (125, 500), (5, 25, 1_500), dim="batch_size", relation=relation, named="batch {:,}")


def _worst(what: str, size: int) -> Rule:
    rule = best_of(what, (size,), (25, 125, 500), dim="batch_size", relation="below", named="batch {:,}")
    supported = "Each is supported if it is below all three in two-sided tests at 5 %"
    how = f"{supported}, contradicted if one of the three is below it in tests at 1.67 %."
    return replace(rule, compared={"batch_size": SIZES}, how=how)  # nothing is tested without all of these


@dataclass(frozen=True)
class LastGradientNorm:
    """Norm of the parameter gradient of the last mini-batch."""

    def __call__(self, state: training.TrainingState) -> torch.Tensor:
        norms: torch.Tensor = state.gradients.vectors().norm(dim=1)
        return norms


@dataclass(frozen=True)
class Trained:
    """Loss, accuracy and sensitivity of trained members; sharpness and noise scale on a few training examples."""

    network: models.MLPConfig
    examples: data.Data
    few: data.Data

    version: ClassVar[int] = 2

    @property
    def seconds(self) -> float:
        return 2e-9 * (len(self.examples.train) + len(self.examples.test)) * parameter_count(self.network.widths)

    def __call__(self, chunks: Sequence[Chunk]) -> xr.Dataset:
        (chunk,) = chunks
        theta = vectors(self.network, chunk, max(chunk.snapshots))
        module = module_of(self.network)
        halves = [LossSurface(module, "cross_entropy", one) for one in (self.examples.train, self.examples.test)]
        kinds = [probes.sensitivity(halves[1], theta, of=of).value for of in SENSITIVITIES]
        some = LossSurface(module, "cross_entropy", self.few.train)
        largest = probes.eigenvalues(some, theta, k=1)
        keskar, trace = probes.sharpness(some, theta, kind="keskar").value, probes.trace(some, theta).value
        noise = probes.noise_scale(some, theta)
        return xr.Dataset(
            {
                "loss": (("split", "member"), torch.stack([one.loss(theta) for one in halves]).numpy()),
                "accuracy": (("split", "member"), torch.stack([one.accuracy(theta) for one in halves]).numpy()),
                "sensitivity": (("member", "of"), torch.stack(kinds, dim=1).numpy()),
                "sharpness": (("member", "kind"), torch.stack([keskar, largest.values[:, 0], trace], dim=1).numpy()),
                "eigenvalue_converged": ("member", largest.converged[:, 0].numpy()),
                "noise_scale": ("member", noise.value.numpy()),
                "noise_scale_standard_error": ("member", noise.standard_error.numpy()),
            },
            {"split": ["train", "test"], "member": list(chunk.members), "of": [*SENSITIVITIES], "kind": [*SHARPNESSES]},
        )


class BatchSize(ImageStudy):
    """Does the batch size decide sensitivity and accuracy?

    The same network is trained with several batch sizes, once for equally many epochs and once for equally many steps.
    At equal epochs large batches make far fewer steps; at equal steps they use far more examples. Sensitivity is the
    Frobenius norm of the derivative of the loss, the logits or the probabilities with respect to the input, averaged
    over test images. The loss of a confidently classified example hardly depends on its input, even where its logits
    do.
    """

    answered_by = ("accuracy_and_loss", "accuracy_and_loss", 0)
    presets = {
        "quick": dict(
            members=6, train_examples=3_000, test_examples=1_000, epochs=8, steps=500, curvature_examples=200
        ),
        "smoke": dict(
            members=6, data="digits", test_examples=100, epochs=2, steps=20, curvature_examples=100, batch_sizes=SMALL
        ),
    }
    # claims with numbers choose the batch sizes that they are about, and are about equal epochs
    ignored_by_claims = ImageStudy.ignored_by_claims | {"batch_sizes", "steps", "curvature_examples"}
    variables = {
        "batch_size": attrs("batch size", "log", "examples"),
        "sensitivity": attrs("sensitivity to the input", "log"),
        "sharpness": attrs("sharpness", "log"),
        "eigenvalue_converged": attrs("whether the residual of the largest eigenvalue is small enough"),
        "noise_scale": attrs("gradient noise scale", "log", "examples"),
        "noise_scale_standard_error": attrs("standard error of the gradient noise scale", "log", "examples"),
        "last_gradient_norm": attrs("norm of the parameter gradient", "log"),
    }

    network: Widths = Field((20, 30), description="hidden widths, for example 20,30")
    learning_rate: LearningRate = 1e-3
    batch_sizes: Distinct[tuple[PositiveInt, ...]] = Field(SIZES, min_length=2, description="examples per batch")
    epochs: PositiveInt = Field(50, description="passes over the training examples, in the comparison at equal epochs")
    steps: PositiveInt = Field(10_000, description="steps per training, in the comparison at equal steps")
    curvature_examples: int = Field(2_000, ge=3, description="training examples for sharpness and noise scale")

    def training(self) -> Mapping[str, Any]:
        return {
            "data": self.examples,
            "loss": "cross_entropy",
            "optimizer": training.Adam(lr=self.learning_rate),
            "record_at": (),
            "evaluate_on": {"test": self.examples.test},
            "measurements": {"last_gradient_norm": LastGradientNorm()},
        }

    def plan(self) -> Planned:
        network, examples = self.mlp(self.network), self.examples
        if max(self.batch_sizes) > len(examples.train):
            remedy = f"expected at most {len(examples.train):,}, the number of training examples"
            raise InputError("batch_sizes", max(self.batch_sizes), remedy)
        few = data.subset(
            examples, min(self.curvature_examples, len(examples.train)), len(examples.test), self.data_seed
        )
        for matching in MATCHINGS:
            length = {matching: getattr(self, matching)}
            for size in self.batch_sizes:
                at: dict[str, str | int] = {"matching": matching, "batch_size": size}
                one = self.ensemble(at, network, group="training", batch_size=size, **length)
                yield from (one, JointMeasurement(at, (one,), Trained(network, examples, few)))

    def derive(self, results: Groups) -> Groups:
        main = results["main"].assign(last_gradient_norm=at_the_end(results["training"]["last_gradient_norm"]))
        main = main.assign_coords(
            examples=("split", [len(self.examples.train), len(self.examples.test)]),
            schedule=("matching", [f"equal {name}" for name in MATCHINGS]),
            batch=("batch_size", [f"batch {size:,}" for size in self.batch_sizes]),
        )
        return results | {"main": main}

    @claim("The best test accuracy lies at batches between 100 and 1,000.", _best("test accuracy"), absolute=True)
    def a(self, r: xr.Dataset) -> tuple[xr.DataArray, str]:
        return self._at_equal_epochs(r, "test", "accuracy")

    @claim("The best test loss lies at batches between 100 and 1,000.", _best("test loss"), absolute=True)
    def b(self, r: xr.Dataset) -> tuple[xr.DataArray, str]:
        return self._at_equal_epochs(r, "test", "loss")

    @claim(
        "The best training accuracy lies at batches between 100 and 1,000.", _best("training accuracy"), absolute=True
    )
    def c(self, r: xr.Dataset) -> tuple[xr.DataArray, str]:
        return self._at_equal_epochs(r, "train", "accuracy")

    @claim("The best training loss lies at batches between 100 and 1,000.", _best("training loss"), absolute=True)
    def d(self, r: xr.Dataset) -> tuple[xr.DataArray, str]:
        return self._at_equal_epochs(r, "train", "loss")

    def _at_equal_epochs(self, r: xr.Dataset, split: str, quantity: str) -> tuple[xr.DataArray, str]:
        epochs, steps = (r.sel(matching=matching, split=split) for matching in MATCHINGS)
        _, best = leaders(steps[quantity].sortby("batch_size"), "batch_size", lowest=quantity == "loss")
        # the loss of a network that diverged is NaN, but its accuracy that of always giving one class
        values = epochs[quantity].where(epochs["loss"].notnull())
        return values, f"At equal steps it is best with batch {best}."

    @claim(
        "Accuracy is worst below 10 and above 1,000.",
        _worst("test accuracy of batch 5, and of 1,500, below that of each of 25, 125 and 500; at equal epochs", 5),
        absolute=True,
    )
    def e(self, r: xr.Dataset) -> Iterator[Part]:
        accuracy, _ = self._at_equal_epochs(r, "test", "accuracy")
        for end, size in (("below 10", 5), ("above 1,000", 1_500)):
            yield from _worst("", size)(accuracy, end=end)

    @claim(
        "Sensitivity falls as the batch grows.",
        median_sign("each member's slope of log sensitivity of the loss on log batch size; at equal epochs", "below"),
    )
    def f(self, r: xr.Dataset) -> tuple[xr.DataArray, str]:
        logs = on_scale(r["sensitivity"].sel(of="loss")).assign_attrs(long_name="log sensitivity on log batch size")
        epochs, steps = (slopes(logs.sel(matching=matching), r["batch_size"]) for matching in MATCHINGS)
        (part,) = median_sign("", "below")(steps)
        way = {"supported": "falls too", "contradicted": "rises"}.get(part.decision, "neither clearly falls nor rises")
        return epochs, f"At equal steps it {way}{f' ({part.effect})' * bool(part.effect)}."

    @figure("Accuracy and loss by batch size", number=16, main_finding=True)
    def accuracy_and_loss(self, r: xr.Dataset) -> Drawn:
        """At equal epochs larger batches make fewer steps. Grey networks are hardly trained: their median training
        accuracy is less than half of the best.
        """
        panels = [
            panel
            for of in ("accuracy", "loss")
            for split in ("test", "train")
            for panel in self._lines(r, r[of].sel(split=split), height=200)
        ]
        ranked = r["accuracy"].sel(split="test").sortby("batch_size")
        epochs, steps = (leaders(one, "batch_size")[1] for _, one in each(ranked, "matching"))
        largest, examples = max(self.batch_sizes), int(r["examples"].sel(split="train"))
        count = self.epochs * math.ceil(examples / largest)
        made = f"batch {largest:,}: {count:,} step{'s' * (count != 1)}"
        best = f"batch {epochs} at equal epochs ({made}) and {steps} at equal steps"
        return panels, f"Test accuracy is highest with {best}."

    @figure("Sensitivity to the input by batch size", number=17, main_finding=True)
    def sensitivity(self, r: xr.Dataset) -> Drawn:
        """How much the loss, the logits and the probabilities depend on the input. The last panel is a gradient with
        respect to the parameters, from the last mini-batch, and not a sensitivity to the input.
        """
        panels = list[Panel]()
        for of in SENSITIVITIES:
            panels += self._lines(r, r["sensitivity"].sel(of=of), height=200, title=f"Sensitivity of the {of}")
        norm = r["last_gradient_norm"]
        panels += self._lines(r, norm.where(norm > 0), height=200, title="Not a sensitivity: parameter gradient")
        return panels, self._change(r["sensitivity"].sel(of="loss"), "loss sensitivity")

    @figure("Sharpness and gradient noise by batch size", main_finding=True)
    def curvature(self, r: xr.Dataset) -> Drawn:
        """On a subset of the training examples. Scaling one layer up and the next down changes sharpness but no output.
        The noise scale is tr(Σ) / |G|²; it is infinite where the mean gradient is indistinguishable from zero.
        """
        values = r["sharpness"].where(r["sharpness"] > 0)
        panels = list[Panel]()
        for kind, name in SHARPNESSES.items():
            panels += self._lines(r, values.sel(kind=kind).assign_attrs(long_name=name), height=240)
        named = ("matching", [f"Noise at {one}" for one in r["schedule"].values.tolist()])
        noise, muted = (one.assign_coords(schedule=named) for one in (r["noise_scale"], _hardly_trained(r)))
        panels += dots(noise, "batch", facet="schedule", never="infinite", coloured="facet", muted=muted)
        return panels, self._change(r["sharpness"].sel(kind="eigenvalue"), "the largest eigenvalue")

    def _lines(self, r: xr.Dataset, values: xr.DataArray, **options: Any) -> list[Panel]:
        """Both schedules, each always in the same colour."""
        grey = _hardly_trained(r)
        return lines(values, "batch_size", "schedule", muted=grey, muted_label="hardly trained", **options)

    def _change(self, values: xr.DataArray, name: str) -> str:
        ranked = values.sortby("batch_size")
        words = [
            f"{change(one.isel(batch_size=0), one.isel(batch_size=-1))} at equal {matching}"
            for matching, one in each(ranked, "matching")
        ]
        return f"From batch {min(self.batch_sizes):,} to {max(self.batch_sizes):,}, {name} {joined(words)}."


def _hardly_trained(r: xr.Dataset) -> xr.DataArray:
    reached = r["accuracy"].sel(split="train", drop=True).median("member")
    return reached < TRAINED * reached.max()
