"""Labels of which some mean nothing, drawn for each member."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bathymetry import data, training

if TYPE_CHECKING:
    import torch

    from bathymetry.data import Data


@dataclass(frozen=True)
class NoisyLabels:
    """Labels of which a share is drawn anew for each member."""

    examples: "Data"
    share: float
    seed: int

    def __call__(self, members: range) -> "torch.Tensor":
        """Draw them.

        Args:
            members: The members' numbers.

        Returns:
            (member, example).
        """
        assert self.examples.classes is not None
        return data.label_noise(self.examples.train.targets, self.share, self.examples.classes, members, self.seed)


@dataclass(frozen=True)
class NoisyTraining:
    """The training examples with those labels."""

    labels: NoisyLabels

    def __call__(self, members: range) -> "training.EvaluationSet":
        """Draw the labels.

        Args:
            members: The members' numbers.

        Returns:
            The examples as each member is trained on them.
        """
        return training.EvaluationSet(self.labels.examples.train, self.labels(members))
