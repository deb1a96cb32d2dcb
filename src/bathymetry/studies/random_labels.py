"""Can a network fit labels that mean nothing?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from bathymetry import data, models, statistics, training
from bathymetry.core.errors import InputError
from bathymetry.studies.claim import Claim
from bathymetry.studies.images import classes_of
from bathymetry.studies.plan import Plan, PlannedEnsemble
from bathymetry.studies.records import at_the_end, group_of
from bathymetry.studies.settings import Distinct, StudySettings, Widths
from bathymetry.studies.study import Study, later

if TYPE_CHECKING:
    import torch
    import xarray as xr

    from bathymetry.data import Data

LABELS = ("random", "true")
ENOUGH = 0.99  # training accuracy at which labels count as memorised
_ENOUGH_IMAGES, _ABOVE_CHANCE = 1_000, 0.10
_STOP = 0.999
_EVERY = 5  # epochs between two looks at what is memorised


class Settings(StudySettings):
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

    data: str = Field("auto", description="auto, mnist, fashion-mnist, kmnist, strokes, digits, or a path")
    train_examples: PositiveInt | None = Field(None, description="at most so many training examples, drawn by seed")
    test_examples: PositiveInt | None = Field(None, description="at most so many test examples, drawn by seed")
    network: Widths = Field((10, 15), description="hidden widths, for example 10,15")
    learning_rate: PositiveFloat = Field(1e-3, description="of Adam")
    batch_size: PositiveInt = Field(50, description="examples a batch")
    epochs: PositiveInt = Field(140, description="passes over the training examples")
    images: Distinct[tuple[PositiveInt, ...]] = Field(
        (500, 1_000, 4_000, 10_000), min_length=1, description="how many images are to be memorised"
    )
    networks: Distinct[tuple[Widths, ...]] = Field(
        ((16,), (64,), (512,), (512, 512)), min_length=1, description="hidden widths of the networks that memorise"
    )
    memorisation_members: Annotated[int, Field(ge=1)] = Field(6, description="members of each that memorises")
    memorisation_epochs: PositiveInt = Field(300, description="the most passes over the images to be memorised")


@dataclass(frozen=True)
class RandomLabels:
    """Labels of the training examples, drawn uniformly for each member."""

    examples: "Data"
    seed: int

    def __call__(self, members: range) -> "torch.Tensor":
        """Draw them.

        Args:
            members: The members' numbers.

        Returns:
            (member, example).
        """
        return _drawn(self.examples, self.examples.train.targets, members, self.seed)


@dataclass(frozen=True)
class RandomlyLabelled:
    """Examples with labels drawn uniformly for each member."""

    examples: "Data"
    seed: int
    of: Literal["train", "test"]

    def __call__(self, members: range) -> "training.EvaluationSet":
        """Draw the labels.

        Args:
            members: The members' numbers.

        Returns:
            The examples, with labels for each member: for training those that it is trained on.
        """
        half = self.examples.train if self.of == "train" else self.examples.test
        seed = self.seed if self.of == "train" else self.seed + 1
        return training.EvaluationSet(half, _drawn(self.examples, half.targets, members, seed))


def _drawn(examples: "Data", labels: "torch.Tensor", members: range, seed: int) -> "torch.Tensor":
    assert examples.classes is not None
    return data.label_noise(labels, 1.0, examples.classes, members, seed)


def network_name(hidden: Sequence[int]) -> str:
    """Name a network by its hidden widths.

    Args:
        hidden: Widths.

    Returns:
        "512-512".
    """
    return "-".join(map(str, hidden))


def plan(settings: Settings) -> Plan:
    """Plan one ensemble on all the images, and one for each cell of the memorisation grid.

    Args:
        settings: The study's settings.

    Returns:
        The plan.

    Raises:
        InputError: If more images are to be memorised than there are.
    """
    given = classes_of(settings)
    examples = given.examples
    if max(settings.images) > len(examples.train):
        raise InputError("images", max(settings.images), f"give at most the {len(examples.train)} there are")
    ensembles = [
        PlannedEnsemble(
            {},
            training.Setting(
                network=models.Perceptron((given.inputs, *settings.network, given.classes)),
                data=examples,
                seed=settings.seed,
                optimizer=training.Adam(lr=settings.learning_rate),
                loss="cross_entropy",
                epochs=settings.epochs,
                batch_size=settings.batch_size,
                targets=RandomLabels(examples, settings.seed),
                evaluate_on={
                    "train": RandomlyLabelled(examples, settings.seed, "train"),
                    "random": RandomlyLabelled(examples, settings.seed, "test"),
                    "true": examples.test,
                },
            ),
            range(settings.members),
        )
    ]
    for images in settings.images:
        few = data.subset(examples, images, len(examples.test), settings.seed)
        ensembles += [
            PlannedEnsemble(
                {"images": images, "network": network_name(hidden)},
                training.Setting(
                    network=models.Perceptron((given.inputs, *hidden, given.classes)),
                    data=few,
                    seed=settings.seed,
                    optimizer=training.Adam(lr=settings.learning_rate),
                    loss="cross_entropy",
                    epochs=settings.memorisation_epochs,
                    batch_size=min(settings.batch_size, images),
                    targets=RandomLabels(few, settings.seed),
                    evaluate_on={"train": RandomlyLabelled(few, settings.seed, "train")},
                    stop=training.StopWhen("train_accuracy", at_least=_STOP),
                    record_at=range(0, settings.memorisation_epochs + 1, _EVERY),
                ),
                range(settings.memorisation_members),
                "memorisation",
            )
            for hidden in settings.networks
        ]
    sources = {examples.name: f"{examples.source}, digest {examples.digest}"}
    return Plan(tuple(ensembles), data=sources)


def derive(settings: Settings, records: "xr.DataTree") -> "xr.DataTree":
    """Put test losses by both kinds of labels on one axis, and take what was memorised in the end.

    Args:
        settings: The study's settings.
        records: What was measured.

    Returns:
        The results.
    """
    import xarray as xr

    given = classes_of(settings)
    root, axis = records.to_dataset(), xr.Variable("labels", list(LABELS))
    for quantity in ("loss", "accuracy"):
        root[f"test_{quantity}"] = xr.concat([root[f"{kind}_{quantity}"] for kind in LABELS], axis)
    root = root.drop_vars([f"{kind}_{quantity}" for kind in LABELS for quantity in ("loss", "accuracy")])
    records.dataset = root.assign(
        classes=given.classes, train_examples=len(given.examples.train), test_examples=len(given.examples.test)
    )
    grid = group_of(records, "memorisation")
    (epoch,) = (dim for dim in grid["train_accuracy"].dims if str(dim).endswith("epoch"))
    widths = [(given.inputs, *hidden, given.classes) for hidden in settings.networks]
    records["memorisation"].dataset = grid.assign(
        memorised_accuracy=at_the_end(grid["train_accuracy"], str(epoch)).where(~grid["diverged"]),
        parameter_count=("network", [models.parameter_count(one) for one in widths]),
        bits=("images", [images * math.log2(given.classes) for images in settings.images]),
    )
    return records


def grid_of(results: "xr.DataTree") -> "xr.Dataset":
    """Give the memorisation grid with its members under their plain name.

    Args:
        results: The study's results.

    Returns:
        `memorised_accuracy` (images, network, member), `parameter_count` (network), `bits` (images).
    """
    grid = group_of(results, "memorisation")
    kept = grid[["memorised_accuracy", "parameter_count", "bits"]]
    (member,) = (dim for dim in kept["memorised_accuracy"].dims if str(dim).endswith("member"))
    return kept if member == "member" else kept.rename({member: "member"})


def _training_loss_falls(results: "xr.DataTree") -> "Sequence[statistics.Part]":
    loss = results.to_dataset()["train_loss"]
    return [statistics.share((loss.isel(epoch=-1) < loss.sel(epoch=1)).values)]


def _test_loss_rises(results: "xr.DataTree") -> "Sequence[statistics.Part]":
    loss = results.to_dataset()["test_loss"].sel(labels="random")
    return [statistics.share((loss.isel(epoch=-1) > loss.sel(epoch=1)).values)]


def _cannot_fit(results: "xr.DataTree") -> "Sequence[statistics.Part]":
    grid, chance = grid_of(results)["memorised_accuracy"], 1 / int(results.to_dataset()["classes"])
    cells = {
        f"{images:,} images, hidden {network}": grid.sel(images=images, network=network).values
        for images in grid["images"].values.tolist()
        for network in grid["network"].values.tolist()
        if images >= _ENOUGH_IMAGES
    }
    return [
        statistics.exists(
            {name: accuracy >= ENOUGH for name, accuracy in cells.items()},
            decides="contradicted",
            signs={name: accuracy > chance + _ABOVE_CHANCE for name, accuracy in cells.items()},
            condition="reach 99 %",
            sign="get 10 points above chance",
        )
    ]


CLAIMS = (
    Claim(
        "a", "The training loss falls with the epochs.", "share",
        "the share of members whose training loss at the last epoch is below that at epoch 1", _training_loss_falls,
    ),
    Claim(
        "b", "The test loss rises with the epochs.", "share",
        "the share of members whose loss on test examples with random labels is higher at the last epoch than at "
        "epoch 1", _test_loss_rises,
    ),
    Claim(
        "c", "Networks cannot fit random labels.", "exists",
        "contradicted by a cell of the memorisation grid with at least 1,000 images in which every member reaches "
        "99 % training accuracy; supported if no member of such a cell gets 10 points above chance", _cannot_fit,
        absolute=True,
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
