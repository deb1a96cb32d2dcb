"""A study with many points of one architecture, of which one can fail."""

import os
from dataclasses import dataclass
from typing import ClassVar

import bathymetry as bm
from bathymetry.studies import Planned


@dataclass(frozen=True)
class Norm:
    """The norm of each member's parameters; at the point that FAILING names it fails."""

    point: int

    version: ClassVar[int] = 1

    def __call__(self, state):
        if os.environ.get("FAILING") == str(self.point):
            raise ZeroDivisionError("the study divides by zero")
        return state.parameters.vectors().norm(dim=1)


class Stacked(bm.Study):
    """Do points of one architecture train together?"""

    presets = {"smoke": {"members": 12}}
    points: int = 8

    def plan(self) -> Planned:
        data = bm.data.function("sin", samples=20)
        for point in range(self.points):
            yield self.ensemble(
                {"point": point},
                bm.MLPConfig((1, 4, 1)),
                data=data,
                epochs=30,
                batch_size=5,
                seed=point,
                optimizer=bm.Adam(lr=1e-3 * (point + 1)),
                measurements={"norm": Norm(point)},
            )
