"""A study that says in a file that it trains, and waits a moment for a signal."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch

import bathymetry as bm
from bathymetry.studies import Planned


@dataclass(frozen=True)
class Wait:
    """Makes the file that `WAITING` names, if it is not there, and waits for a signal."""

    version: ClassVar[int] = 1

    def __call__(self, moment):
        place = os.environ.get("WAITING")
        if place and moment.epoch >= 20 and not Path(place).exists():
            Path(place).touch()
            time.sleep(2.0)  # ends late: what handles a signal runs in between
        return torch.zeros(len(moment.members))


class Waiting(bm.Study):
    """Does it stop?"""

    presets = {"smoke": {"members": 12}}

    def plan(self) -> Planned:
        data = bm.data.function("sin", samples=20)
        yield self.ensemble(
            {"network": "4"},
            bm.MLPConfig((1, 4, 1)),
            data=data,
            epochs=40,
            batch_size=5,
            measurements={"wait": Wait()},
        )
