"""A study that writes down with how many threads each of its parts runs."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
import xarray as xr

import bathymetry as bm
from bathymetry.studies import JointMeasurement, Plan, PlannedEnsemble, Study, StudySettings


def note(word):
    with Path(os.environ["THREADS"]).open("a") as file:
        file.write(f"{word} {torch.get_num_threads()}\n")


class Settings(StudySettings):
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"smoke": {"members": 2}}


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


def joint(units):
    note("joint")
    return xr.Dataset({"nothing": ("member", [0.0, 0.0])}, {"member": list(units[0].members)})


def plan(settings: Settings) -> Plan:
    data = bm.data.function("sin", samples=20)
    config = bm.TrainingConfig(
        network=Network(), data=data, seed=settings.seed, epochs=2, measurements={"measured": Measured()}
    )
    ensemble = PlannedEnsemble({}, config, range(settings.members))
    return Plan((ensemble,), (JointMeasurement({}, (ensemble,), joint, "joint"),), data={"sin": "sin"})


def derive(settings, records):
    note("derived")
    return records


STUDY = Study(
    name="threads",
    question="How many threads?",
    about="It counts.",
    reading="Nothing.",
    shows=(),
    settings=Settings,
    plan=plan,
    derive=derive,
    figures=lambda results: (),
)
