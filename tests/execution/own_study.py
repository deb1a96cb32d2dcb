"""A study of somebody's own: does a wider network end lower?"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from pydantic import Field

import bathymetry as bm
from bathymetry.charts import Figure, panel
from bathymetry.charts.explicit import dot_chart as dots
from bathymetry.studies import Claim, JointMeasurement, Plan, PlannedEnsemble, Study, StudySettings, Widths


class Settings(StudySettings):
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"smoke": {"epochs": 5}}
    widths: tuple[Widths, ...] = Field(((2,), (8,)), description="hidden widths")
    epochs: int = Field(20, gt=0, description="steps")


def plan(settings: Settings) -> Plan:
    data = bm.data.function("sin", samples=50, seed=settings.seed)
    ensembles = tuple(
        PlannedEnsemble(
            {"network": "-".join(map(str, hidden))},
            bm.TrainingConfig(
                network=bm.MLPConfig((1, *hidden, 1)), data=data, seed=settings.seed, epochs=settings.epochs,
                snapshots=(0,),
            ),
            range(settings.members),
        )
        for hidden in settings.widths
    )  # fmt: skip
    travelled = JointMeasurement({}, ensembles, distances, group="between")
    return Plan(ensembles, joints=(travelled,), data={"sin": data.source})


def distances(units):
    """How much farther the last bias of a member of the second ensemble moved than that of the first."""
    moved = [
        np.abs(unit.snapshots[max(unit.snapshots)]["2.bias"] - unit.snapshots[0]["2.bias"])[:, 0] for unit in units
    ]
    return xr.Dataset({"difference": ("member", moved[1] - moved[0])}, {"member": list(units[0].members)})


def figures(results):
    last = results.to_dataset()["train_loss"].isel(epoch=-1)
    chart = dots(last, category="network", title="Final training loss", scale="log")
    return (Figure("final-loss", "Which width ends lowest?", (panel(chart, "Loss"),), "Seen.", "One dot a member."),)


def wider_is_lower(results):
    last = results.to_dataset()["train_loss"].isel(epoch=-1)
    return [bm.stats.stochastic_order(*last.values[::-1], larger_is_better=False, first="wide", second="narrow")]


STUDY = Study(
    name="own-width",
    question="Does a wider network end lower?",
    about="Two widths.",
    reading="Dots.",
    shows=("final losses",),
    settings=Settings,
    plan=plan,
    figures=figures,
    claims=(Claim("a", "Wider is lower.", "stochastic_order", "final training loss", wider_is_lower),),
)
