from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
import xarray as xr
from pydantic import Field
from scipy.ndimage import median_filter, uniform_filter1d

from bathymetry import probes, stats, training
from bathymetry.charts import Reference, attrs, lines
from bathymetry.claims import claim, majority, median_sign
from bathymetry.core.showing import joined
from bathymetry.data import Data
from bathymetry.models import MLPConfig
from bathymetry.stats import intervals, per_member
from bathymetry.stats.wording import number
from bathymetry.studies.arrays import each
from bathymetry.studies.base import Drawn, Groups, Planned, figure
from bathymetry.studies.families import FunctionStudy, surface_of
from bathymetry.studies.settings import Widths
from bathymetry.surface import LossSurface

SPIKE, WINDOW = 3.0, 51  # a spike is above three times the running median of 51 epochs
NEAR = 5  # epochs between a spike and a bend of the loss that go together
SMOOTH = 5  # epochs over which log loss is averaged before it is differenced
BENT = 0.9  # quantile of second differences above which the loss bends
CURVATURES = 40  # epochs at which the Hessian is measured, at most
LATE = 50  # epochs at the end, whose median is shown
Row = np.ndarray[Any, np.dtype[Any]]  # one member's values by epoch


@dataclass(frozen=True)
class LayerGradientNorm:
    """The norm of each layer's gradient at the point where the loss is recorded, (member, layer)."""

    def __call__(self, state: training.TrainingState) -> torch.Tensor:
        squares: dict[str, torch.Tensor] = {}
        for name, gradient in state.gradients.views.items():
            layer = name.rpartition(".")[0]
            squares[layer] = squares.get(layer, 0.0) + gradient.double().flatten(1).square().sum(1)
        return torch.stack(list(squares.values()), dim=1).sqrt()


@dataclass(frozen=True)
class PreconditionedEigenvalue:
    """The largest eigenvalue of the Hessian preconditioned by Adam's second moments."""

    network: MLPConfig
    examples: Data
    beta2: float = 0.999
    eps: float = 1e-8

    @cached_property
    def surface(self) -> LossSurface:
        return surface_of(self.network, self.examples)

    def __call__(self, state: training.TrainingState) -> torch.Tensor:
        second = state.moments["exp_avg_sq"].vectors().double() / (1 - self.beta2**state.step)
        theta = state.parameters.vectors().double()
        return probes.preconditioned_eigenvalue(self.surface, theta, preconditioner=second.sqrt() + self.eps)


def spikes(norm: Row) -> Row:
    """Epochs at which a member's gradient norm exceeds three times its running median."""
    spiking: Row = norm > SPIKE * median_filter(norm, size=WINDOW, mode="nearest")
    return spiking


def bends(loss: Row) -> Row:
    """Epochs at which the second difference of a member's smoothed log loss is in its top tenth."""
    smooth = uniform_filter1d(np.log(np.maximum(loss, np.finfo(float).tiny)), SMOOTH, mode="nearest")
    change = np.abs(np.gradient(np.gradient(smooth)))
    bent: Row = change > np.quantile(change, BENT)
    return bent


def log_odds_ratio(norm: Row, loss: Row) -> float:
    """Log odds ratio of bends of the loss near spikes and elsewhere, ½ added to each cell; NaN if it diverged."""
    if not (np.isfinite(norm).all() and np.isfinite(loss).all()):
        return float("nan")
    near = np.convolve(spikes(norm), np.ones(2 * NEAR + 1))[NEAR:-NEAR] > 0  # as many as epochs, however few
    bent = bends(loss)
    if near.all() or not near.any():  # nothing to compare: the ½ alone would make a ratio of about 2
        return float("nan")
    cells = [float((a & b).sum()) + 0.5 for a in (near, ~near) for b in (bent, ~bent)]
    return float(np.log(cells[0] * cells[3] / (cells[1] * cells[2])))


def rank_correlation(norm: Row, loss: Row) -> float:
    """Fisher's z of the rank correlation of the norm and the next decrease of the loss; NaN if it diverged."""
    return float(per_member.spearman_z(norm[:-1], -np.diff(loss))) if np.isfinite(norm).all() else float("nan")


class GradientNorm(FunctionStudy):
    """What does the gradient norm say while a network trains?

    A network, by default with 131 parameters, is trained on a function of one variable by full-batch Adam. After every
    epoch the loss and the gradient norm of each layer are recorded at the same parameters, and after up to 40 epochs
    the largest eigenvalue of the preconditioned Hessian, to which Adam's stability threshold applies.
    """

    chapter = "Part 2: optimisation"
    answered_by = ("gradient_norm", "gradient_norm", 1)
    presets = {"quick": {"members": 6}, "smoke": {"members": 6, "samples": 60, "epochs": 80}}
    variables = {
        "layer_gradient_norm": attrs("gradient norm (L2, one layer)", "log"),
        "gradient_norm": attrs("gradient norm (L2, all parameters)", "log"),
        "preconditioned_eigenvalue": attrs("largest eigenvalue of the preconditioned Hessian", "log"),
        "stability_threshold": attrs("stability threshold of Adam", "log"),
        "curvature_epoch": attrs("epoch", "epoch"),
    }

    function: str = Field("cos", description="function to learn, by name or as an expression in x")
    network: Widths = Field((5, 10, 5), description="hidden widths, for example 5,10,5")

    def plan(self) -> Planned:
        examples, network = self.examples(self.function), self.mlp(self.network)
        epochs = tuple(sorted({round(one) for one in np.geomspace(1, self.epochs, CURVATURES)}))
        eigenvalue = PreconditionedEigenvalue(network, examples)
        measurements = {
            "layer_gradient_norm": training.Measurement(LayerGradientNorm(), axes=("layer",)),
            "preconditioned_eigenvalue": training.Measurement(eigenvalue, epochs, "curvature_epoch"),
        }
        yield self.ensemble({}, network, data=examples, measurements=measurements)

    def derive(self, results: Groups) -> Groups:
        layers = results["main"]["layer_gradient_norm"]
        whole = results["main"].assign(
            gradient_norm=np.sqrt((layers**2).sum("layer", skipna=False)),
            stability_threshold=training.stability_threshold(training.Adam(lr=self.learning_rate)),
        )
        names = [f"layer {place + 1}" for place in range(layers.sizes["layer"])]
        return {"main": whole.assign_coords(layer=names)}

    @claim(
        "Spikes of the gradient norm go with changes in the slope of the loss.",
        median_sign(
            "the log odds ratio between epochs within 5 of a spike (above 3 times the running median of 51 epochs) and "
            "those in the top tenth of the smoothed log loss's second differences"
        ),
    )
    def a(self, r: xr.Dataset) -> xr.DataArray:
        return self._by_member(log_odds_ratio, r).assign_attrs(attrs("log odds ratio") | {"meaning": "odds"})

    @claim(
        "The loss falls faster where the gradient norm is large.",
        median_sign(
            "the rank correlation of the norm and the loss's next decrease, over epochs", shown=intervals.FISHER
        ),
    )
    def b(self, r: xr.Dataset) -> xr.DataArray:
        return self._by_member(rank_correlation, r).assign_attrs(attrs("rank correlation"))

    def _by_member(self, function: Callable[[Row, Row], float], r: xr.Dataset) -> xr.DataArray:
        rows = r["gradient_norm"], r["loss"].sel(split="train", drop=True)
        values: xr.DataArray = xr.apply_ufunc(function, *rows, input_core_dims=[["epoch"], ["epoch"]], vectorize=True)
        return values

    @claim(
        "At convergence the gradient norm is almost zero.",
        majority("members whose median norm over epochs 951 to 1,000 is below 1 % of its largest"),
        absolute=True,
    )
    def c(self, r: xr.Dataset) -> xr.DataArray:
        late = r["gradient_norm"].sel(epoch=slice(951, 1000)).median("epoch", skipna=False)
        return late < 0.01 * r["gradient_norm"].max("epoch")

    @figure("Training loss and gradient norm", number=(9, 10), main_finding=True, stacked=True)
    def gradient_norm(self, r: xr.Dataset) -> Drawn:
        """Loss and norm are evaluated at the same parameters; their axes are logarithmic. A spike is an epoch at which
        a member's norm exceeds three times its running median over 51 epochs.
        """
        norm = r["gradient_norm"].transpose("member", "epoch")
        late = norm.isel(epoch=slice(-LATE, None)).median("epoch", skipna=False)
        fall = 100 * late / norm.max("epoch", skipna=False)
        counts = [int(spikes(one).sum()) for one in norm.values if np.isfinite(one).all()]
        share = _span(number(fall.min()), number(fall.max()))
        found = f"Each member's median norm over the last {LATE} epochs is {share} % of its maximum"
        spiked = "no member has a spike"
        if any(counts):
            count = _span(str(min(counts)), str(max(counts)))
            spiked = f"spikes at {count} of {norm.sizes['epoch']:,} epochs"
        shown = r["loss"].sel(split="train"), norm
        panels = [panel for one in shown for panel in lines(one, "epoch", centre="median", height=130)]
        return panels, f"{found}; {spiked}."

    @figure("Gradient norm of each layer")
    def layers(self, r: xr.Dataset) -> Drawn:
        """All panels have one logarithmic axis. The layers' squared norms add up to that of the whole gradient."""
        count = max(1, r.sizes["epoch"] // 10)  # the norm of a single epoch varies by chance
        late = r["layer_gradient_norm"].isel(epoch=slice(-count, None)).median("epoch", skipna=False)
        bands = {name: stats.mean_interval(one.values, transform=intervals.LOG) for name, one in each(late, "layer")}
        largest = max(bands, key=lambda name: float(bands[name].centre))
        close = [name for name, band in bands.items() if name != largest and band.high > bands[largest].low]
        last = f"Over the last {count:,} epochs"
        alone = "is unknown" if np.isnan(bands[largest].low) else "lies above all others"
        found = f"{last} {largest} has the largest norm; its interval {alone}."
        if close:
            those = joined(sorted([largest, *close]))
            found = f"{last} the intervals of {those} overlap: none has clearly the largest norm."
        return lines(r["layer_gradient_norm"], "epoch", facet="layer", height=200), found

    @figure("Largest eigenvalue of the preconditioned Hessian", main_finding=True)
    def preconditioned_eigenvalue(self, r: xr.Dataset) -> Drawn:
        """The eigenvalue is on a logarithmic axis. Above the dashed line, Adam's steps along the sharpest direction
        overshoot further each time; points far above it are marked at the top.
        """
        eigenvalue, limit = r["preconditioned_eigenvalue"], float(r["stability_threshold"])
        end, shown = eigenvalue.isel(curvature_epoch=-1), eigenvalue.where(eigenvalue > 0)
        rate = f"{limit * self.learning_rate:.3g} / learning rate"
        threshold = Reference(limit, f"stability threshold, {rate} = {limit:,.0f}")
        low = float(shown.min())
        domain = (low / 1.2, 10 * limit) if low < limit else None
        above, of = int((end > limit).sum()), end.sizes["member"]
        members = f"{above} of {of} members exceed" if above else "no member exceeds"
        panels = lines(
            shown,
            "curvature_epoch",
            x_scale="epoch",
            references=[threshold],
            domain=domain,
            centre="median",
            height=260,
        )
        found = f"After the last epoch the median eigenvalue is {float(f'{float(end.median()):.2g}'):,.6g}"
        return panels, f"{found}; {members} Adam's stability threshold of {limit:,.0f}."


def _span(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"
