"""Does the batch size decide sensitivity and accuracy?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from bathymetry import data, models, probes, stats, training
from bathymetry.studies.legacy import Claim, ImageSettings, Study, at_the_end, classes_of, group_of, later, missing_part
from bathymetry.studies.plan import JointMeasurement, Plan, PlannedEnsemble
from bathymetry.studies.settings import Distinct, Widths
from bathymetry.studies.snapshots import vectors
from bathymetry.studies.wording import joined

if TYPE_CHECKING:
    import torch
    import xarray as xr

    from bathymetry.data import Data
    from bathymetry.store import Chunk

MATCHINGS = ("epochs", "steps")
SENSITIVITIES = ("loss", "logits", "probabilities")
SHARPNESSES = ("keskar", "eigenvalue", "trace")
_CANDIDATES, _RIVALS = (125, 500), (5, 25, 1_500)


class Settings(ImageSettings):
    """What can be varied."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {
            "members": 6, "train_examples": 3_000, "test_examples": 1_000, "epochs": 8, "steps": 500,
            "curvature_examples": 200,
        },
        "smoke": {
            "members": 6, "data": "digits", "epochs": 2, "steps": 20, "batch_sizes": (5, 25, 125, 500),
            "curvature_examples": 100, "test_examples": 100,
        },
    }  # fmt: skip

    # claims with numbers take out the batch sizes that they are about, and are about equal epochs
    free: ClassVar[frozenset[str]] = ImageSettings.free | {"batch_sizes", "steps", "curvature_examples"}

    network: Widths = Field((20, 30), description="hidden widths, for example 20,30")
    learning_rate: PositiveFloat = Field(1e-3, description="of Adam")
    batch_sizes: Distinct[tuple[PositiveInt, ...]] = Field(
        (5, 25, 125, 500, 1_500), min_length=2, description="examples a batch"
    )
    epochs: PositiveInt = Field(50, description="passes over the training examples, where epochs are equal")
    steps: PositiveInt = Field(10_000, description="steps of each, where steps are equal")
    curvature_examples: int = Field(
        2_000, ge=3, description="training examples on which sharpness and noise scale are measured"
    )


@dataclass(frozen=True)
class LastGradientNorm:
    """The norm of the parameter gradient that the last mini-batch left over."""

    def __call__(self, moment: "training.TrainingState") -> "torch.Tensor":
        """Take it.

        Args:
            moment: The moment of training.

        Returns:
            A norm for each member.
        """
        norms: torch.Tensor = moment.gradients.vectors().norm(dim=1)
        return norms


@dataclass(frozen=True)
class Trained:
    """What can be measured of networks that are trained."""

    network: "models.MLPConfig"
    examples: "Data"
    few: "Data"

    version: ClassVar[int] = 2

    @property
    def seconds(self) -> float:
        """About how long a member takes."""
        rows = len(self.examples.train) + len(self.examples.test)
        return 2e-9 * rows * models.parameter_count(self.network.widths)

    def __call__(self, units: "Sequence[Chunk]") -> "xr.Dataset":
        """Measure the members.

        Args:
            units: One unit, with its last parameters.

        Returns:
            Losses, accuracies, sensitivities on the test examples; sharpness and noise scale on some training examples.
        """
        import torch
        import xarray as xr

        from bathymetry.surface import LossSurface

        (unit,) = units
        theta = vectors(self.network, unit, max(unit.snapshots))
        with torch.random.fork_rng(devices=[]):
            module = self.network()
        variables: dict[str, Any] = {}
        for half, one in (("train", self.examples.train), ("test", self.examples.test)):
            surface = LossSurface(module, "cross_entropy", one)
            variables[f"{half}_loss"] = ("member", surface.loss(theta).numpy())
            variables[f"{half}_accuracy"] = ("member", surface.accuracy(theta).numpy())
        kinds = [probes.sensitivity(surface, theta, of=of).value for of in ("loss", "logits", "probabilities")]
        variables["sensitivity"] = (("member", "of"), torch.stack(kinds, dim=1).numpy())
        some = LossSurface(module, "cross_entropy", self.few.train)
        largest = probes.eigenvalues(some, theta, k=1)
        sharp = [
            probes.sharpness(some, theta, kind="keskar").value,
            largest.values[:, 0],
            probes.trace(some, theta).value,
        ]
        variables["sharpness"] = (("member", "kind"), torch.stack(sharp, dim=1).numpy())
        variables["eigenvalue_converged"] = ("member", largest.converged[:, 0].numpy())
        noise = probes.noise_scale(some, theta)
        variables["noise_scale"] = ("member", noise.value.numpy())
        variables["noise_scale_standard_error"] = ("member", noise.standard_error.numpy())
        coordinates = {"member": list(unit.members), "of": list(SENSITIVITIES), "kind": list(SHARPNESSES)}
        return xr.Dataset(variables, coordinates)


def plan(settings: Settings) -> Plan:
    """Plan one ensemble for each batch size and each way of making them equal, and measure what it ends at.

    Args:
        settings: The study's settings.

    Returns:
        The plan.
    """
    given = classes_of(settings, max(settings.batch_sizes))
    examples = given.examples
    network = models.MLPConfig((given.inputs, *settings.network, given.classes))
    count = min(settings.curvature_examples, len(examples.train))
    few = data.subset(examples, count, len(examples.test), settings.seed)
    ensembles, joints = [], []
    for matching in MATCHINGS:
        length = {matching: getattr(settings, matching)}
        for size in settings.batch_sizes:
            config = training.TrainingConfig(
                network=network, data=examples, seed=settings.seed, optimizer=training.Adam(lr=settings.learning_rate),
                loss="cross_entropy", batch_size=size, record_at=(), evaluate_on={"test": examples.test},
                measurements={"last_gradient_norm": LastGradientNorm()}, **length,
            )  # fmt: skip
            where: dict[str, str | int | float] = {"matching": matching, "batch_size": size}
            ensembles.append(PlannedEnsemble(where, config, range(settings.members), "training"))
            joints.append(JointMeasurement(where, (ensembles[-1],), Trained(network, examples, few)))
    return Plan(tuple(ensembles), tuple(joints), data={examples.name: examples.origin})


def derive(settings: Settings, records: "xr.DataTree") -> "xr.DataTree":
    """Add the gradient that the last mini-batch left over, and how many examples an accuracy is of.

    Args:
        settings: The study's settings.
        records: What was measured.

    Returns:
        The results.
    """
    examples = classes_of(settings, max(settings.batch_sizes)).examples
    left = group_of(records, "training")["last_gradient_norm"]
    root = records.to_dataset()
    records.dataset = root.assign(
        last_gradient_norm=at_the_end(left),
        train_examples=len(examples.train),
        test_examples=len(examples.test),
    )
    return records


def _equal_epochs(results: "xr.DataTree", quantity: str) -> "dict[int, np.ndarray[Any, Any]]":
    whole = results.to_dataset().sel(matching="epochs")
    # of a network that diverged the loss is NaN, and its accuracy that of answering one class always
    values = whole[quantity].where(whole[f"{quantity.partition('_')[0]}_loss"].notnull())
    return {int(size): values.sel(batch_size=size).values for size in values["batch_size"].values}


def _missing(values: "dict[int, np.ndarray[Any, Any]]") -> "list[stats.Part]":
    missing = [f"{size:,}" for size in sorted((*_CANDIDATES, *_RIVALS)) if size not in values]
    return [missing_part([f"batch size {joined(missing)}"])] if missing else []


def _best_in_between(quantity: str, *, larger_is_better: bool) -> Any:
    def decide(results: "xr.DataTree") -> "Sequence[stats.Part]":
        values = _equal_epochs(results, quantity)
        if missing := _missing(values):
            return missing
        candidates = {f"batch {size:,}": values[size] for size in _CANDIDATES}
        rivals = {f"batch {size:,}": values[size] for size in _RIVALS}
        return [stats.best_of(candidates, rivals, larger_is_better=larger_is_better)]

    return decide


def _worst_at_the_ends(results: "xr.DataTree") -> "Sequence[stats.Part]":
    values = _equal_epochs(results, "test_accuracy")
    if missing := _missing(values):
        return missing
    middle = {f"batch {size:,}": values[size] for size in (25, 125, 500)}
    return [
        stats.best_of({f"batch {size:,}": values[size]}, middle, larger_is_better=False, coordinates={"end": end})
        for end, size in (("below 10", 5), ("above 1,000", 1_500))
    ]


def _sensitivity_falls(results: "xr.DataTree") -> "Sequence[stats.Part]":
    return _slope_of_sensitivity(results, "epochs")


def _slope_of_sensitivity(results: "xr.DataTree", matching: str) -> "Sequence[stats.Part]":
    values = results.to_dataset()["sensitivity"].sel(matching=matching, of="loss").transpose("batch_size", "member")
    sizes = np.log(values["batch_size"].values.astype(float))
    centred = sizes - sizes.mean()
    # a network that diverged, or answers every input alike, has no logarithm and so no slope
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = centred @ np.log(values.values) / (centred @ centred)
    return [stats.mean_sign(slopes, expected="below", quantity="mean slope of log sensitivity on log batch size")]


def _sensitivity_at_equal_steps(results: "xr.DataTree") -> str:
    (part,) = _slope_of_sensitivity(results, "steps")
    same = {"supported": "falls too", "contradicted": "rises", "undecided": "neither clearly falls nor clearly rises"}
    return f"At equal steps it {same[part.decision]}: {part.finding or part.summary}."


def _best_at_equal_steps(quantity: str, *, larger_is_better: bool) -> Any:
    def beside(results: "xr.DataTree") -> str:
        middle = results.to_dataset()[quantity].sel(matching="steps").median("member")
        best = int(np.argmax(middle.values if larger_is_better else -middle.values))
        return f"At equal steps the best median is that of batch {int(middle['batch_size'][best]):,}."

    return beside


_BETWEEN = "batch 125 or 500 beats each of 5, 25 and 1,500; at equal epochs"

CLAIMS = (
    Claim(
        "a", "The best test accuracy lies at batches between 100 and 1,000.", "best_of",
        f"test accuracy: {_BETWEEN}", _best_in_between("test_accuracy", larger_is_better=True),
        beside=_best_at_equal_steps("test_accuracy", larger_is_better=True), absolute=True,
    ),
    Claim(
        "b", "The best test loss lies at batches between 100 and 1,000.", "best_of",
        f"test loss: {_BETWEEN}", _best_in_between("test_loss", larger_is_better=False),
        beside=_best_at_equal_steps("test_loss", larger_is_better=False), absolute=True,
    ),
    Claim(
        "c", "The best training accuracy lies at batches between 100 and 1,000.", "best_of",
        f"training accuracy: {_BETWEEN}", _best_in_between("train_accuracy", larger_is_better=True),
        beside=_best_at_equal_steps("train_accuracy", larger_is_better=True), absolute=True,
    ),
    Claim(
        "d", "The best training loss lies at batches between 100 and 1,000.", "best_of",
        f"training loss: {_BETWEEN}", _best_in_between("train_loss", larger_is_better=False),
        beside=_best_at_equal_steps("train_loss", larger_is_better=False), absolute=True,
    ),
    Claim(
        "e", "Accuracy is worst below 10 and above 1,000.", "best_of",
        "test accuracy of batch 5, and of 1,500, below that of each of 25, 125 and 500; at equal epochs",
        _worst_at_the_ends, absolute=True,
    ),
    Claim(
        "f", "Sensitivity falls as the batch grows.", "mean_sign",
        "each member's slope of the logarithm of the loss's mean sensitivity to the input on that of the batch size; "
        "at equal epochs", _sensitivity_falls, beside=_sensitivity_at_equal_steps,
    ),
)  # fmt: skip


STUDY = Study(
    name="batch-size",
    part="Part 3: generalisation",
    question="Does the batch size decide sensitivity and accuracy?",
    about="The same network is trained with batches of several sizes, for as many epochs and, beside that, for as many "
    "steps: equal epochs give the largest batch three hundred times fewer steps than the smallest. Sensitivity is the "
    "Frobenius norm of a derivative with respect to the input, a mean over test images.",
    reading="Both axes of most charts are logarithmic. Each faint line is one member, the strong line their mean on "
    "the axis's own scale, its band the pointwise 95 % interval.",
    shows=(
        "Figure 16: accuracy and sensitivity by batch size",
        "Figure 17: loss and sensitivity by batch size",
        "the same at equal numbers of steps",
        "sensitivity of the loss, of the logits and of the probabilities",
        "sharpness: Keskar's, the largest eigenvalue, the trace",
        "the gradient noise scale",
        "the parameter gradient that the last mini-batch left over",
    ),
    settings=Settings,
    plan=plan,
    derive=derive,
    claims=CLAIMS,
    figures=later("bathymetry.studies.batch_size_figures", "figures"),
    seen=later("bathymetry.studies.batch_size_figures", "seen"),
    protocol_data="mnist",
)
