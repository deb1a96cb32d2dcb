"""A study that trains for some seconds, and says that it takes longer."""

from dataclasses import dataclass
from typing import ClassVar

import torch

import bathymetry as bm
from bathymetry.studies import Planned


@dataclass(frozen=True)
class Long:
    """A measurement that says that it takes long, so that workers are worth starting."""

    version: ClassVar[int] = 1
    seconds: ClassVar[float] = 5.0

    def __call__(self, state):
        return torch.stack([one.norm() for one in state.parameters.vectors()])


class Killed(bm.Study):
    """Does it end as it would have?"""

    presets = {"smoke": {"members": 4}}

    def plan(self) -> Planned:
        data = bm.data.function("sin", samples=50)
        for hidden in (3, 4, 5, 6):
            measured = {"norm": bm.Measurement(Long(), epochs=(500,), dimension="once")}
            network = bm.MLPConfig((1, hidden, 1))
            yield self.ensemble({"hidden": hidden}, network, data=data, epochs=3000, measurements=measured)
