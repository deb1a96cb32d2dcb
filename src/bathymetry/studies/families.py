"""What several studies have in common: images, functions of one variable, noisy labels, surfaces, stored parameters."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Shaped
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor

from bathymetry import data, models, training
from bathymetry.charts import attrs
from bathymetry.core.errors import InputError
from bathymetry.data import Data
from bathymetry.data.datasets import load_shared
from bathymetry.models import MLPConfig
from bathymetry.models.mlp import module_of, parameter_count
from bathymetry.store.chunks import Chunk
from bathymetry.studies.base import Study
from bathymetry.studies.settings import DataSeed, LearningRate, Limit, Steps
from bathymetry.surface import LossSurface
from bathymetry.training import EvaluationSet, Measurement

DEPTHS = ("shallow", "middle", "deep")  # names of networks with as many parameters each
EQUAL = 1.1  # the largest ratio of parameter counts that are called equal


class ImageStudy(Study):
    """Networks that learn to tell classes apart."""

    chapter = "Part 3: generalisation"
    reference_data = "mnist"
    variables = {"loss": attrs("loss (cross-entropy)", "log")}

    data_seed: DataSeed = 0
    data: str = Field("auto", description="auto, mnist, fashion-mnist, kmnist, strokes, digits, or a path")
    train_examples: Limit = Field(None, description="largest number of training examples (a random subset)")
    test_examples: Limit = Field(None, description="largest number of test examples (a random subset)")

    @cached_property
    def examples(self) -> Data:
        """The examples that the settings name. For `plan` and `derive` only: stored results need no data."""
        whole = load_shared(self.data)
        if whole.classes is None:
            raise InputError("data", self.data, "its targets are values; expected class numbers, stored as integers")
        train = min(self.train_examples or len(whole.train), len(whole.train))
        test = min(self.test_examples or len(whole.test), len(whole.test))
        return data.subset(whole, train, test, self.data_seed)

    def as_used(self, results: xr.DataTree) -> Self:
        """Without the limits on numbers of examples that the data did not reach."""
        sizes = results["main"].coords.get("examples") if "main" in results else None
        used = {} if sizes is None else dict(zip(sizes["split"].values.tolist(), sizes.values.tolist(), strict=True))
        limits = {"train": self.train_examples, "test": self.test_examples}
        beyond = [f"{split}_examples" for split, limit in limits.items() if limit and used.get(split, limit) < limit]
        return self.model_copy(update=dict.fromkeys(beyond))

    def mlp(self, hidden: Sequence[int]) -> MLPConfig:
        """A network for these images."""
        return models.MLPConfig((self.examples.train.inputs.shape[1], *hidden, self.num_classes))

    @property
    def num_classes(self) -> int:
        """How many classes there are; like `examples` for `plan` and `derive` only."""
        assert self.examples.classes is not None
        return self.examples.classes


class FunctionStudy(Study):
    """Networks that learn functions of one variable, by Adam on the full batch."""

    variables = {"loss": attrs("loss (mean squared error)", "log"), "x": attrs("x")}

    data_seed: DataSeed = 0
    low: float = Field(-10.0, description="lower end of the inputs")
    high: float = Field(10.0, description="upper end of the inputs")
    samples: PositiveInt = Field(1000, description="number of training inputs; as many again for testing")
    learning_rate: LearningRate = 1e-3
    epochs: Steps = 1500

    @model_validator(mode="after")
    def _interval(self) -> Self:
        if not self.low < self.high:
            raise InputError("low", f"{self.low:g}", f"expected less than high, {self.high:g}")
        return self

    def examples(self, function: str) -> Data:
        """Examples of a function."""
        return data.function(function, self.low, self.high, self.samples, self.data_seed)

    def mlp(self, hidden: Sequence[int], activation: str = "relu") -> MLPConfig:
        """A network of one input and one output."""
        return models.MLPConfig((1, *hidden, 1), activation)

    def at_end(self, function: Any, *axes: str) -> Measurement:
        """A measurement made once, after the last epoch."""
        return training.Measurement(function, epochs=(self.epochs,), dimension="last_epoch", axes=axes)

    def training(self) -> Mapping[str, Any]:
        """Adam on the full batch."""
        return {"optimizer": training.Adam(lr=self.learning_rate), "epochs": self.epochs}


@dataclass(frozen=True)
class NoisyLabels:
    """Labels of which a share is drawn at random for each member."""

    examples: Data
    share: float
    seed: int

    def __call__(self, members: range) -> Shaped[Tensor, "member example"]:
        assert self.examples.classes is not None
        return data.label_noise(self.examples.train.targets, self.share, self.examples.classes, members, self.seed)


@dataclass(frozen=True)
class NoisyTraining:
    """The training examples with those labels."""

    labels: NoisyLabels

    def __call__(self, members: range) -> EvaluationSet:
        return EvaluationSet(self.labels.examples.train, self.labels(members))


def surface_of(network: MLPConfig, examples: Data) -> LossSurface:
    """The mean squared error on the training examples, in float64."""
    return LossSurface(module_of(network), "mse", examples, dtype=torch.float64)


def vectors(network: MLPConfig, chunk: Chunk, epoch: int) -> Float[Tensor, "member parameter"]:
    """The members' parameters at an epoch, in the order of the network's own: stored files keep them by name."""
    names = [name for name, _ in module_of(network).named_parameters()]
    tensors = [torch.from_numpy(np.asarray(chunk.snapshots[epoch][name])) for name in names]
    return torch.cat([one.reshape(len(one), -1) for one in tensors], dim=1)


def unequal_parameters(networks: Sequence[Sequence[int]]) -> Iterator[str]:
    """Say so where networks that are compared have unequal numbers of parameters."""
    counts = [parameter_count(widths) for widths in networks]
    low, high = min(counts), max(counts)
    if high > EQUAL * low:
        yield f"These networks have {low:,} to {high:,} parameters, so depth is not all that differs between them."
