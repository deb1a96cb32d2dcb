"""At equal parameters, do deep networks classify images better than shallow ones?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveFloat, PositiveInt

from bathymetry import models, stats, training
from bathymetry.studies.legacy import (
    Claim,
    ImageSettings,
    Study,
    StudySettings,
    classes_of,
    later,
    missing_part,
    parts_of,
    without_diverged,
)
from bathymetry.studies.plan import Plan, PlannedEnsemble
from bathymetry.studies.settings import Distinct, Widths
from bathymetry.studies.wording import network_names, unequal_parameters

if TYPE_CHECKING:
    import torch
    import xarray as xr

    from bathymetry.data import Data

_NETWORKS: tuple[tuple[int, ...], ...] = ((30,), (25, 60, 38), (20, 40, 60, 50, 30))
_WORDS = ("shallow", "middle", "deep")
_INPUTS, _OUTPUTS = 784, 10


class Settings(ImageSettings):
    """What can be varied."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"members": 6, "train_examples": 10_000, "test_examples": 5_000, "epochs": 30},
        "smoke": {"members": 6, "data": "digits", "epochs": 4},
    }

    # claims of the protocol's own networks take out those that they are about
    free: ClassVar[frozenset[str]] = StudySettings.free | {"networks"}

    networks: Distinct[tuple[Widths, ...]] = Field(
        _NETWORKS, min_length=1, description="hidden widths of each network, for example 30 25,60,38"
    )
    learning_rate: PositiveFloat = Field(1e-3, description="of Adam")
    batch_size: PositiveInt = Field(50, description="examples a batch")
    epochs: PositiveInt = Field(120, description="passes over the training examples")


@dataclass(frozen=True)
class LastBatchLoss:
    """The loss of the last mini-batch, which is what a training loop usually prints."""

    def __call__(self, moment: "training.TrainingState") -> "torch.Tensor":
        """Take it.

        Args:
            moment: The moment of training.

        Returns:
            A loss for each member; NaN before the first batch.
        """
        return moment.batch_loss


def plan(settings: Settings) -> Plan:
    """Plan one ensemble for each network.

    Args:
        settings: The study's settings.

    Returns:
        The plan.
    """
    examples = classes_of(settings, settings.batch_size).examples
    widths, notes = widths_for(settings, examples)
    ensembles = [
        PlannedEnsemble(
            {"network": name},
            training.TrainingConfig(
                network=models.MLPConfig(tuple(one)),
                data=examples,
                seed=settings.seed,
                optimizer=training.Adam(lr=settings.learning_rate),
                loss="cross_entropy",
                epochs=settings.epochs,
                batch_size=settings.batch_size,
                measurements={"last_batch_loss": LastBatchLoss()},
            ),
            range(settings.members),
        )
        for name, one in zip(names_of(settings), widths, strict=True)
    ]
    return Plan(tuple(ensembles), notes=notes, data={examples.name: examples.origin})


def names_of(settings: Settings) -> tuple[str, ...]:
    """Name the networks.

    Args:
        settings: The study's settings.

    Returns:
        One name a network.
    """
    return network_names(settings.networks, _NETWORKS, _WORDS)


def widths_for(settings: Settings, examples: "Data") -> tuple[list[list[int]], tuple[str, ...]]:
    """Choose widths that keep each network's number of parameters for these data.

    Args:
        settings: The study's settings.
        examples: The data.

    Returns:
        All widths of each network, and what to tell of the choice. Networks of the user's own stay as they are.
    """
    inputs, outputs = examples.train.inputs.shape[1], examples.classes or _OUTPUTS
    if (inputs, outputs) == (_INPUTS, _OUTPUTS) or settings.networks != _NETWORKS:
        own = [[inputs, *hidden, outputs] for hidden in settings.networks]
        return own, unequal_parameters(own)
    chosen, notes = [], []
    for name, hidden in zip(names_of(settings), settings.networks, strict=True):
        budget = models.parameter_count([_INPUTS, *hidden, _OUTPUTS])
        widths = models.fit_budget(budget, inputs, outputs, len(hidden), hidden)
        chosen.append(widths)
        notes.append(
            f"For {inputs} inputs and {outputs} classes the {name} network is {'-'.join(map(str, widths))}: "
            f"{models.parameter_count(widths):,} parameters for a budget of {budget:,}."
        )
    return chosen, tuple(notes)


def derive(settings: Settings, records: "xr.DataTree") -> "xr.DataTree":
    """Add what follows from the settings: the parameters of each network, and how many examples an accuracy is of.

    Args:
        settings: The study's settings.
        records: What the ensembles recorded.

    Returns:
        The results.
    """
    examples = classes_of(settings, settings.batch_size).examples
    widths, _ = widths_for(settings, examples)
    records.dataset = records.to_dataset().assign(
        parameter_count=("network", [models.parameter_count(one) for one in widths]),
        train_examples=len(examples.train),
        test_examples=len(examples.test),
    )
    return records


def _each_network(
    results: "xr.DataTree", judge: "Callable[[xr.Dataset, dict[str, str]], stats.Part]", *, own: bool
) -> "Sequence[stats.Part]":
    return parts_of(without_diverged(results.to_dataset()), {"network": _WORDS}, judge, own=own)


def _training_above_test(results: "xr.DataTree") -> "Sequence[stats.Part]":
    def judge(one: "xr.Dataset", at: dict[str, str]) -> "stats.Part":
        then = one.sel(epoch=min(100, int(one["epoch"].max())))
        return stats.majority((then["train_accuracy"] > then["test_accuracy"]).values, coordinates=at)

    return _each_network(results, judge, own=True)


def _middle_is_best(results: "xr.DataTree") -> "Sequence[stats.Part]":
    accuracy = without_diverged(results.to_dataset())["test_accuracy"]
    missing = [f"the {name} network" for name in _WORDS if name not in accuracy["network"].values]
    if missing:
        return [missing_part(missing)]
    at = {name: accuracy.sel(network=name, epoch=100).values for name in _WORDS}
    return [stats.best_of({"middle": at.pop("middle")}, at, larger_is_better=True)]


def _flattens_at_95(results: "xr.DataTree") -> "Sequence[stats.Part]":
    def judge(one: "xr.Dataset", at: dict[str, str]) -> "stats.Part":
        late = one["test_accuracy"].sel(epoch=slice(91, 100)).mean("epoch", skipna=False)
        return stats.mean_in_interval(late.values, 0.945, 0.965, as_percent=True, coordinates=at)

    return _each_network(results, judge, own=False)


def _training_reaches_99(results: "xr.DataTree") -> "Sequence[stats.Part]":
    def judge(one: "xr.Dataset", at: dict[str, str]) -> "stats.Part":
        best = one["train_accuracy"].sel(epoch=slice(1, 100)).max("epoch")
        return stats.majority((best >= 0.985).values, coordinates=at)

    return _each_network(results, judge, own=False)


def _converged_by_100(results: "xr.DataTree") -> "Sequence[stats.Part]":
    def judge(one: "xr.Dataset", at: dict[str, str]) -> "stats.Part":
        early, late = (one["train_loss"].sel(epoch=epoch) for epoch in (100, 120))
        return stats.majority((late > 0.9 * early).values, coordinates=at)

    return _each_network(results, judge, own=False)


CLAIMS = (
    Claim(
        "a", "Training accuracy is above test accuracy.", "majority",
        "the share of members whose training accuracy is above their test accuracy at epoch 100 or the last; for each "
        "network", _training_above_test,
    ),
    Claim(
        "b", "The middle network has the best test accuracy.", "best_of",
        "test accuracy at epoch 100, middle above shallow and deep", _middle_is_best, absolute=True,
    ),
    Claim(
        "c", "Test accuracy flattens at 95 to 96 %.", "mean_in_interval",
        "the mean of epochs 91 to 100 lies in 94.5 to 96.5 %; for each network", _flattens_at_95, absolute=True,
    ),
    Claim(
        "d", "Training accuracy reaches 99 %.", "majority",
        "the share of members whose best training accuracy by epoch 100 is at least 98.5 %; for each network",
        _training_reaches_99, absolute=True,
    ),
    Claim(
        "e", "The networks have converged by about 100 epochs.", "majority",
        "the share of members whose training loss falls by less than 10 % from epoch 100 to 120; for each network",
        _converged_by_100, absolute=True,
    ),
)  # fmt: skip


STUDY = Study(
    name="depth-classification",
    part="Part 1: depth",
    question="At equal parameters, do deep networks classify images better than shallow ones?",
    about="Networks of different depths, unless told otherwise with about 23,900 parameters each, learn to tell kinds "
    "of images apart, by Adam on mini-batches. Loss and accuracy are taken over the whole training and test sets after "
    "every epoch, for every member.",
    reading="Each faint line is one member; the strong line is their mean on the axis's own scale, its band the "
    "pointwise 95 % interval of that mean. Accuracies stand on a logit axis, which has room for every step toward "
    "100 %.",
    shows=(
        "Figure 5: training loss by epoch, with the last mini-batch's loss behind it",
        "Figure 6: training and test accuracy by epoch",
    ),
    settings=Settings,
    plan=plan,
    derive=derive,
    claims=CLAIMS,
    figures=later("bathymetry.studies.depth_classification_figures", "figures"),
    seen=later("bathymetry.studies.depth_classification_figures", "seen"),
    protocol_data="mnist",
)
