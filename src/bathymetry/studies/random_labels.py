"""Can a network fit labels that mean nothing?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, PositiveFloat, PositiveInt

from bathymetry import data, models, stats, training
from bathymetry.core.errors import InputError
from bathymetry.studies.labels import NoisyLabels, NoisyTraining
from bathymetry.studies.legacy import Claim, ImageSettings, Study, at_the_end, classes_of, group_of, later, put_group
from bathymetry.studies.plan import Plan, PlannedEnsemble
from bathymetry.studies.settings import Distinct, Widths
from bathymetry.studies.wording import network_name

if TYPE_CHECKING:
    import xarray as xr

    from bathymetry.data import Data

LABELS = ("random", "true")
ENOUGH = 0.99  # training accuracy at which labels count as memorised
_ENOUGH_IMAGES, _ABOVE_CHANCE = 1_000, 0.10
_STOP = 0.999
_EVERY = 5  # epochs between two looks at what is memorised


class Settings(ImageSettings):
    """What can be varied."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {
            "members": 6, "train_examples": 5_000, "test_examples": 2_000, "epochs": 20, "images": (500, 1_000),
            "networks": ((16,), (64,), (512,)), "memorisation_epochs": 60,
        },
        "smoke": {
            "members": 6, "data": "digits", "epochs": 3, "images": (100, 200), "networks": ((16,), (64,)),
            "memorisation_epochs": 10,
        },
    }  # fmt: skip

    # the claim with a number is about the memorisation grid alone
    free: ClassVar[frozenset[str]] = ImageSettings.free | {"network", "epochs", "test_examples", "memorisation_members"}

    network: Widths = Field((10, 15), description="hidden widths, for example 10,15")
    learning_rate: PositiveFloat = Field(1e-3, description="of Adam")
    batch_size: PositiveInt = Field(50, description="examples a batch")
    epochs: int = Field(140, ge=2, description="passes over the training examples")
    images: Distinct[tuple[PositiveInt, ...]] = Field(
        (500, 1_000, 4_000, 10_000), min_length=1, description="how many images are to be memorised"
    )
    networks: Distinct[tuple[Widths, ...]] = Field(
        ((16,), (64,), (512,), (512, 512)), min_length=1, description="hidden widths of the networks that memorise"
    )
    memorisation_members: Annotated[int, Field(ge=1)] = Field(6, description="members of each that memorises")
    memorisation_epochs: PositiveInt = Field(300, description="the most passes over the images to be memorised")


@dataclass(frozen=True)
class RandomTest:
    """The test examples with labels drawn uniformly for each member."""

    examples: "Data"
    seed: int

    def __call__(self, members: range) -> "training.EvaluationSet":
        """Draw the labels.

        Args:
            members: The members' numbers.

        Returns:
            The test examples, with labels for each member.
        """
        test = self.examples.test
        assert self.examples.classes is not None
        # another seed, so that they have nothing to do with the training labels
        drawn = data.label_noise(test.targets, 1.0, self.examples.classes, members, self.seed + 1)
        return training.EvaluationSet(test, drawn)


def plan(settings: Settings) -> Plan:
    """Plan one ensemble on all the images, and one for each cell of the memorisation grid.

    Args:
        settings: The study's settings.

    Returns:
        The plan.

    Raises:
        InputError: If more images are to be memorised than there are.
    """
    given = classes_of(settings, settings.batch_size)
    examples = given.examples
    if max(settings.images) > len(examples.train):
        raise InputError("images", max(settings.images), f"give at most the {len(examples.train)} there are")
    labels = NoisyLabels(examples, 1.0, settings.seed)
    ensembles = [
        PlannedEnsemble(
            {},
            training.TrainingConfig(
                network=models.MLPConfig((given.inputs, *settings.network, given.classes)),
                data=examples,
                seed=settings.seed,
                optimizer=training.Adam(lr=settings.learning_rate),
                loss="cross_entropy",
                epochs=settings.epochs,
                batch_size=settings.batch_size,
                targets=labels,
                evaluate_on={
                    "train": NoisyTraining(labels),
                    "random": RandomTest(examples, settings.seed),
                    "true": examples.test,
                },
            ),
            range(settings.members),
        )
    ]
    for images in settings.images:
        few = data.subset(examples, images, len(examples.test), settings.seed)
        few_labels = NoisyLabels(few, 1.0, settings.seed)
        ensembles += [
            PlannedEnsemble(
                {"images": images, "network": network_name(hidden)},
                training.TrainingConfig(
                    network=models.MLPConfig((given.inputs, *hidden, given.classes)),
                    data=few,
                    seed=settings.seed,
                    optimizer=training.Adam(lr=settings.learning_rate),
                    loss="cross_entropy",
                    epochs=settings.memorisation_epochs,
                    batch_size=min(settings.batch_size, images),
                    targets=few_labels,
                    evaluate_on={"train": NoisyTraining(few_labels)},
                    stop=training.StopWhen("train_accuracy", at_least=_STOP),
                    record_at=range(0, settings.memorisation_epochs + 1, _EVERY),
                ),
                range(settings.memorisation_members),
                "memorisation",
            )
            for hidden in settings.networks
        ]
    return Plan(tuple(ensembles), data={examples.name: examples.origin})


def derive(settings: Settings, records: "xr.DataTree") -> "xr.DataTree":
    """Put test losses by both kinds of labels on one axis, and take what was memorised in the end.

    Args:
        settings: The study's settings.
        records: What was measured.

    Returns:
        The results.
    """
    import xarray as xr

    given = classes_of(settings, settings.batch_size)
    root, axis = records.to_dataset(), xr.Variable("labels", list(LABELS))
    for quantity in ("loss", "accuracy"):
        root[f"test_{quantity}"] = xr.concat([root[f"{kind}_{quantity}"] for kind in LABELS], axis)
    root = root.drop_vars([f"{kind}_{quantity}" for kind in LABELS for quantity in ("loss", "accuracy")])
    records.dataset = root.assign(
        classes=given.classes, train_examples=len(given.examples.train), test_examples=len(given.examples.test)
    )
    grid = group_of(records, "memorisation")
    widths = [(given.inputs, *hidden, given.classes) for hidden in settings.networks]
    grid = grid.assign(
        memorised_accuracy=at_the_end(grid["train_accuracy"]).where(~grid["diverged"]),
        parameter_count=("network", [models.parameter_count(one) for one in widths]),
        bits=("images", [images * math.log2(given.classes) for images in settings.images]),
    )
    put_group(records, "memorisation", grid)
    return records


def _training_loss_falls(results: "xr.DataTree") -> "Sequence[stats.Part]":
    loss = results.to_dataset()["train_loss"]
    return [stats.majority((loss.isel(epoch=-1) < loss.sel(epoch=1)).values)]


def _test_loss_rises(results: "xr.DataTree") -> "Sequence[stats.Part]":
    loss = results.to_dataset()["test_loss"].sel(labels="random")
    return [stats.majority((loss.isel(epoch=-1) > loss.sel(epoch=1)).values)]


def _cannot_fit(results: "xr.DataTree") -> "Sequence[stats.Part]":
    grid, chance = group_of(results, "memorisation")["memorised_accuracy"], 1 / int(results.to_dataset()["classes"])
    cells = {
        f"{images:,} images, hidden {network}": grid.sel(images=images, network=network).values
        for images in grid["images"].values.tolist()
        for network in grid["network"].values.tolist()
        if images >= _ENOUGH_IMAGES
    }
    return [
        stats.exists(
            {name: accuracy >= ENOUGH for name, accuracy in cells.items()},
            decides="contradicted",
            signs={name: accuracy > chance + _ABOVE_CHANCE for name, accuracy in cells.items()},
            condition="reach 99 %",
            sign="gets 10 points above chance",
            cell=f"cell of the memorisation grid with at least {_ENOUGH_IMAGES:,} images",
        )
    ]


CLAIMS = (
    Claim(
        "a", "The training loss falls with the epochs.", "majority",
        "the share of members whose training loss at the last epoch is below that at epoch 1", _training_loss_falls,
    ),
    Claim(
        "b", "The test loss rises with the epochs.", "majority",
        "the share of members whose loss on test examples with random labels is higher at the last epoch than at "
        "epoch 1", _test_loss_rises,
    ),
    Claim(
        "c", "Networks cannot fit random labels.", "exists",
        "the training accuracy that members reach in each cell of the memorisation grid with at least 1,000 images",
        _cannot_fit, absolute=True,
    ),
)  # fmt: skip


STUDY = Study(
    name="random-labels",
    part="Part 3: generalisation",
    question="Can a network fit labels that mean nothing?",
    about="A small network is trained on images whose labels were drawn at random, each member with a draw of its own, "
    "and judged by the labels it was given, by random labels for test images, and by the true ones. One small network "
    "can't answer the question, so a grid of networks of several sizes memorises several numbers of images beside it.",
    reading="A network that answers every class with the same probability has the loss ln 10 with ten classes. Each "
    "faint line or dot is one member, the strong line their mean, its band the pointwise 95 % interval.",
    shows=(
        "Figure 12: training and test loss by epoch, with ln 10",
        "how much is memorised, by images, network, and parameters for each bit",
    ),
    settings=Settings,
    plan=plan,
    derive=derive,
    claims=CLAIMS,
    figures=later("bathymetry.studies.random_labels_figures", "figures"),
    seen=later("bathymetry.studies.random_labels_figures", "seen"),
    protocol_data="mnist",
)
