"""A study whose plan, measurement and derived quantity draw from global generators without a seed."""

import random
from collections.abc import Mapping, Sequence

import numpy as np
import torch
import xarray as xr
from pydantic import Field

import bathymetry as bm
from bathymetry.store.chunks import Chunk
from bathymetry.studies import JointMeasurement, Planned


def drawn(chunks: Sequence[Chunk]) -> xr.Dataset:
    members = list(chunks[0].members)
    return xr.Dataset({"drawn": ("member", np.random.rand(len(members)))}, {"member": members})


class Drawing(bm.Study):
    """Do draws depend on what ran before?"""

    presets = {"smoke": {"epochs": 3}}
    epochs: int = Field(20, gt=0, description="steps")

    def plan(self) -> Planned:
        inputs = torch.randn(24, 1)
        ensemble = self.ensemble({}, bm.MLPConfig((1, 4, 1)), data=(inputs, inputs**2), epochs=self.epochs)
        yield ensemble
        yield JointMeasurement({}, (ensemble,), drawn, group="between")

    def derive(self, results: Mapping[str, xr.Dataset]) -> Mapping[str, xr.Dataset]:
        results["main"]["derived"] = "member", [random.random() for _ in results["main"]["member"]]
        return results
