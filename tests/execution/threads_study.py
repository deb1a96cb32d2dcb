"""A study that writes down with how many threads each of its parts runs."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
import xarray as xr

import bathymetry as bm
from bathymetry.studies import JointMeasurement, Planned


def note(word):
    with Path(os.environ["THREADS"]).open("a") as file:
        file.write(f"{word} {torch.get_num_threads()}\n")


@dataclass(frozen=True)
class Network:
    version: ClassVar[int] = 1

    def __call__(self):
        note("built")
        return bm.mlp([1, 3, 1])


@dataclass(frozen=True)
class Measured:
    version: ClassVar[int] = 1

    def __call__(self, moment):
        note("measured")
        return torch.zeros(len(moment.members))


def joint(chunks):
    note("joint")
    return xr.Dataset({"nothing": ("member", [0.0, 0.0])}, {"member": list(chunks[0].members)})


class Threads(bm.Study):
    """How many threads?"""

    presets = {"smoke": {"members": 2}}

    def plan(self) -> Planned:
        ensemble = self.ensemble(
            {}, Network(), data=bm.data.function("sin", samples=20), epochs=2, measurements={"measured": Measured()}
        )
        yield ensemble
        yield JointMeasurement({}, (ensemble,), joint, "joint")

    def derive(self, results):
        note("derived")
        return results
