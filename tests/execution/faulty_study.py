"""A study whose chunks fail as a folder named by FAULTS says, and which says that measuring takes long."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch

import bathymetry as bm
from bathymetry.core.errors import InputError
from bathymetry.studies import Planned


@dataclass(frozen=True)
class Fault:
    """Looks for a file named by the number of hidden units and does what it says; `…-once` is deleted first."""

    hidden: int

    version: ClassVar[int] = 1
    seconds: ClassVar[float] = 30.0  # so that workers are worth starting

    def __call__(self, state):
        print("what a study prints is no answer")  # noqa: T201
        for place in Path(os.environ.get("FAULTS", "/nowhere")).glob(f"{self.hidden}-*"):
            kind = place.name.split("-")[1]
            if place.name.endswith("-once"):
                place.unlink()
            if kind == "kill" or (kind == "outgrow" and len(state.members) > 2):
                os.kill(os.getpid(), signal.SIGKILL)
            if kind == "raise":
                raise ZeroDivisionError("the study divides by zero")
            if kind == "refuse":
                raise InputError("hidden", self.hidden, "expected another")
            if kind == "memory" and len(state.members) > 2:
                raise MemoryError
            if kind == "hang":
                (place.parent / f"hanging-{self.hidden}").touch()
                time.sleep(600)
            if kind == "device":
                (place.parent / f"device-{os.environ['CUDA_VISIBLE_DEVICES']}-{os.getpid()}").touch()
            if kind == "wait":
                (place.parent / f"waiting-{self.hidden}").touch()
                time.sleep(0.2)
        return torch.zeros(len(state.members))


class Faulty(bm.Study):
    """Does the rest go on?"""

    presets = {"smoke": {"members": 4}}
    epochs: int = 30

    def plan(self) -> Planned:
        data = bm.data.function("sin", samples=20)
        for hidden in (3, 4, 5):
            measured = bm.training.Measurement(Fault(hidden), epochs=(20,), dimension="once")
            network = bm.MLPConfig((1, hidden, 1))
            yield self.ensemble(
                {"hidden": hidden}, network, data=data, epochs=self.epochs, measurements={"fault": measured}
            )
