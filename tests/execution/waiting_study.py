"""A study that says in a file that it trains, and waits a moment for a signal."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

import bathymetry as bm
from bathymetry.studies import Plan, PlannedEnsemble, Study, StudySettings


class Settings(StudySettings):
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"smoke": {"members": 12}}


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


def plan(settings: Settings) -> Plan:
    config = bm.TrainingConfig(
        network=bm.MLPConfig((1, 4, 1)), data=bm.data.function("sin", samples=20), seed=settings.seed, epochs=40,
        batch_size=5, measurements={"wait": Wait()},
    )  # fmt: skip
    return Plan((PlannedEnsemble({"network": "4"}, config, range(settings.members)),), data={"sin": "sin"})


STUDY = Study(
    name="waiting",
    question="Does it stop?",
    about="It waits.",
    reading="Nothing.",
    shows=(),
    settings=Settings,
    plan=plan,
    figures=lambda results: (),
)
