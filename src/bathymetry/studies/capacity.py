"""Do more parameters generalise better?"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from bathymetry import data, models, stats, training
from bathymetry.core.errors import InputError
from bathymetry.studies.claim import Claim
from bathymetry.studies.images import Classes, ImageSettings, classes_of
from bathymetry.studies.labels import NoisyLabels, NoisyTraining
from bathymetry.studies.networks import network_name
from bathymetry.studies.plan import Plan, PlannedEnsemble
from bathymetry.studies.records import at_the_end
from bathymetry.studies.results import group_of, put_group
from bathymetry.studies.settings import Distinct, Widths
from bathymetry.studies.study import Study, later

if TYPE_CHECKING:
    import xarray as xr


_NETWORKS: tuple[tuple[int, ...], ...] = (
    (2, 5), (4, 8), (10, 20), (20, 30), (50, 25), (100, 50), (200, 100), (400, 200), (600, 300), (800, 400),
)  # fmt: skip
_HIDDEN = (2, 5, 10, 20, 30, 40, 50, 60, 80, 120, 250, 500)
_UPPER = 5  # of the networks, by parameters, over which performance is said to keep improving
QUANTITIES = tuple(f"{half}_{what}" for half in ("train", "test") for what in ("loss", "accuracy"))


class Settings(ImageSettings):
    """What can be varied."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {
            "members": 6, "train_examples": 2_000, "test_examples": 1_000, "epochs": 4, "few_examples": 300,
            "hidden": (2, 5, 10, 30, 120), "few_epochs": 40,
        },
        "smoke": {
            "members": 6, "data": "digits", "epochs": 2, "networks": ((2, 5), (4, 8), (10, 20), (20, 30), (50, 25)),
            "few_examples": 100, "hidden": (2, 10), "few_epochs": 3,
        },
    }  # fmt: skip

    # claims with numbers are not about the small-sample regime
    free: ClassVar[frozenset[str]] = ImageSettings.free | {
        "few_examples", "hidden", "label_noise", "few_members", "few_epochs",
    }  # fmt: skip

    networks: Distinct[tuple[Widths, ...]] = Field(
        _NETWORKS, min_length=_UPPER, description="hidden widths of each network, for example 2,5 4,8"
    )
    learning_rate: PositiveFloat = Field(1e-3, description="of Adam")
    batch_size: PositiveInt = Field(50, description="examples a batch")
    epochs: PositiveInt = Field(50, description="passes over the training examples")
    few_examples: PositiveInt = Field(4_000, description="training examples of the small-sample regime")
    hidden: Distinct[tuple[PositiveInt, ...]] = Field(
        _HIDDEN, min_length=2, description="hidden units of each network in the small-sample regime"
    )
    label_noise: Distinct[tuple[float, ...]] = Field(
        (0.0, 0.2), min_length=1, description="shares of the labels that are drawn anew in the small-sample regime"
    )
    few_members: PositiveInt = Field(6, description="members of each network in the small-sample regime")
    few_epochs: PositiveInt = Field(400, description="passes over the examples of the small-sample regime")


def plan(settings: Settings) -> Plan:
    """Plan one ensemble for each network, and one for each cell of the small-sample regime.

    Args:
        settings: The study's settings.

    Returns:
        The plan.

    Raises:
        InputError: If the regime wants more examples than there are, or a share of labels is none.
    """
    given = classes_of(settings, settings.batch_size)
    examples = given.examples
    if settings.few_examples > len(examples.train):
        raise InputError("few_examples", settings.few_examples, f"give at most the {len(examples.train)} there are")
    for share in settings.label_noise:
        if not 0 <= share <= 1:
            raise InputError("label_noise", share, "give shares from 0 to 1")
    ensembles = [
        PlannedEnsemble({"network": network_name(hidden)}, _setting(settings, given, hidden), range(settings.members))
        for hidden in settings.networks
    ]
    return Plan((*ensembles, *_regime(settings, given)), data={examples.name: examples.origin})


def _setting(settings: Settings, given: Classes, hidden: Sequence[int]) -> "training.TrainingConfig":
    return training.TrainingConfig(
        network=models.MLPConfig((given.inputs, *hidden, given.classes)),
        data=given.examples,
        seed=settings.seed,
        optimizer=training.Adam(lr=settings.learning_rate),
        loss="cross_entropy",
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        record_at=(),
    )


def _regime(settings: Settings, given: Classes) -> list[PlannedEnsemble]:
    few = data.subset(given.examples, settings.few_examples, len(given.examples.test), settings.seed)
    planned = []
    for share in settings.label_noise:
        labels = NoisyLabels(few, share, settings.seed)
        for hidden in settings.hidden:
            config = training.TrainingConfig(
                network=models.MLPConfig((given.inputs, hidden, given.classes)),
                data=few,
                seed=settings.seed,
                optimizer=training.Adam(lr=settings.learning_rate),
                loss="cross_entropy",
                epochs=settings.few_epochs,
                batch_size=min(settings.batch_size, settings.few_examples),
                targets=labels,
                evaluate_on={"train": NoisyTraining(labels), "test": few.test},
                record_at=(),
            )
            where = {"label_noise": share, "hidden": hidden}
            planned.append(PlannedEnsemble(where, config, range(settings.few_members), "regime"))
    return planned


def derive(settings: Settings, records: "xr.DataTree") -> "xr.DataTree":
    """Keep where training ended, and add parameters and how many examples an accuracy is of.

    Args:
        settings: The study's settings.
        records: What the ensembles recorded.

    Returns:
        The results.
    """
    given = classes_of(settings, settings.batch_size)
    widths = [(given.inputs, *hidden, given.classes) for hidden in settings.networks]
    records.dataset = _ended(records.to_dataset()).assign(
        parameter_count=("network", [models.parameter_count(one) for one in widths]),
        train_examples=len(given.examples.train),
        test_examples=len(given.examples.test),
    )
    narrow = [(given.inputs, hidden, given.classes) for hidden in settings.hidden]
    regime = _ended(group_of(records, "regime")).assign(
        parameter_count=("hidden", [models.parameter_count(one) for one in narrow]),
        few_examples=settings.few_examples,
        classes=given.classes,
    )
    put_group(records, "regime", regime)
    return records


def _ended(records: "xr.Dataset") -> "xr.Dataset":
    ended = {name: at_the_end(records[name]).where(~records["diverged"]) for name in QUANTITIES}
    return records.drop_dims("epoch").assign(ended)


def _slopes(whole: "xr.Dataset", values: "np.ndarray[Any, Any]", networks: int) -> "np.ndarray[Any, Any]":
    """Fit each member's straight line over the logarithm of the parameters of the largest networks."""
    counts = whole["parameter_count"].values
    largest = np.argsort(counts)[-networks:]
    logs = np.log(counts[largest].astype(float))
    centred = logs - logs.mean()
    slopes: np.ndarray[Any, Any] = centred @ values[largest] / (centred @ centred)
    return slopes


def _by_network(whole: "xr.Dataset", quantity: str) -> "np.ndarray[Any, Any]":
    values: np.ndarray[Any, Any] = whole[quantity].transpose("network", "member").values
    return values


def _keeps_improving(half: str) -> Any:
    def decide(results: "xr.DataTree") -> "Sequence[stats.Part]":
        whole = results.to_dataset()
        logit = stats.logit_accuracy(int(whole[f"{half}_examples"]))
        loss = stats.LOG.forward(_by_network(whole, f"{half}_loss"))
        accuracy = logit.forward(_by_network(whole, f"{half}_accuracy"))
        fits: dict[str, tuple[str, Literal["above", "below"], np.ndarray[Any, Any]]]
        fits = {"loss": ("log loss", "below", loss), "accuracy": ("logit accuracy", "above", accuracy)}
        return [
            stats.mean_sign(
                _slopes(whole, values, _UPPER), expected=side, quantity=f"mean slope of {name}", coordinates={"of": of}
            )
            for of, (name, side, values) in fits.items()
        ]

    return decide


def _gap_grows(results: "xr.DataTree") -> "Sequence[stats.Part]":
    whole = results.to_dataset()
    gap = _by_network(whole, "test_loss") - _by_network(whole, "train_loss")
    slopes = _slopes(whole, gap, whole.sizes["network"])
    return [stats.mean_sign(slopes, expected="above", quantity="mean slope of the gap on log parameters")]


_SLOPE = "each member's slope on log parameters over the five largest networks, of log loss and of logit accuracy"

CLAIMS = (
    Claim("a", "Training performance keeps improving with parameters.", "mean_sign", f"{_SLOPE}; training",
          _keeps_improving("train"), absolute=True),
    Claim("b", "Test performance keeps improving with parameters.", "mean_sign", f"{_SLOPE}; test",
          _keeps_improving("test"), absolute=True),
    Claim("c", "The gap between test and training loss grows.", "mean_sign",
          "each member's slope of test loss minus training loss on log parameters, over all networks", _gap_grows),
)  # fmt: skip


STUDY = Study(
    name="capacity",
    part="Part 3: generalisation",
    question="Do more parameters generalise better?",
    about="Networks with one and a half thousand to nearly a million parameters learn the same images for as many "
    "epochs. Beside that, networks with one hidden layer learn a small sample for long, with true labels and with some "
    "drawn at random: there the test loss may rise and fall again as networks grow (double descent).",
    reading="Each faint line or dot is one member, the strong line their mean on the axis's own scale, its band the "
    "pointwise 95 % interval.",
    shows=(
        "Figure 13: training and test loss by parameters",
        "Figure 14: training and test accuracy by parameters",
        "loss and accuracy in the small-sample regime",
    ),
    settings=Settings,
    plan=plan,
    derive=derive,
    claims=CLAIMS,
    figures=later("bathymetry.studies.capacity_figures", "figures"),
    seen=later("bathymetry.studies.capacity_figures", "seen"),
    protocol_data="mnist",
)
