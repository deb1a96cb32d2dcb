"""A study of somebody's own: does a wider network end lower?"""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from pydantic import Field

import bathymetry as bm
from bathymetry.charts import dots
from bathymetry.claims import stochastic_order
from bathymetry.store.chunks import Chunk
from bathymetry.studies import Drawn, JointMeasurement, Planned
from bathymetry.studies.settings import Widths


def distances(chunks: Sequence[Chunk]) -> xr.Dataset:
    """How much farther the last bias of a member of the second ensemble moved than that of the first."""
    moved = [
        np.abs(chunk.snapshots[max(chunk.snapshots)]["2.bias"] - chunk.snapshots[0]["2.bias"])[:, 0] for chunk in chunks
    ]
    return xr.Dataset({"difference": ("member", moved[1] - moved[0])}, {"member": list(chunks[0].members)})


class OwnWidth(bm.Study):
    """Does a wider network end lower?

    Two widths.
    """

    presets = {"smoke": {"epochs": 5}}
    widths: tuple[Widths, ...] = Field(((2,), (8,)), description="hidden widths")
    epochs: int = Field(20, gt=0, description="steps")

    def plan(self) -> Planned:
        data = bm.data.function("sin", samples=50, seed=self.seed)
        ensembles = [
            self.ensemble(
                {"network": "-".join(map(str, hidden))}, bm.MLPConfig((1, *hidden, 1)), data=data, epochs=self.epochs,
                snapshots=(0,),
            )
            for hidden in self.widths
        ]  # fmt: skip
        yield from ensembles
        yield JointMeasurement({}, tuple(ensembles), distances, group="between")

    @bm.claim("Wider is lower.", stochastic_order("final training loss", "8", "2", dim="network", relation="below"))
    def a(self, r: xr.Dataset) -> xr.DataArray:
        return r["loss"].sel(split="train").isel(epoch=-1)

    @bm.figure("Final training loss by width", reading="One dot per member.")
    def final_loss(self, r: xr.Dataset) -> Drawn:
        return dots(r["loss"].sel(split="train").isel(epoch=-1), "network"), "Seen."
