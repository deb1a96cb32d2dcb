"""What does the gradient norm say while a network trains?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from bathymetry import data, models, probes, stats, training
from bathymetry.studies.legacy import Claim, Study, StudySettings, later, without_diverged
from bathymetry.studies.plan import Plan, PlannedEnsemble
from bathymetry.studies.settings import Widths
from bathymetry.studies.surfaces import surface_of

if TYPE_CHECKING:
    import torch
    import xarray as xr

    from bathymetry.data import Data

_WINDOW = 51  # epochs of the running median
_SPIKE = 3.0  # times the running median
_NEAR = 5  # epochs
_SMOOTH = 5  # epochs over which log loss is averaged before it is differenced


class Settings(StudySettings):
    """What can be varied."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {"members": 6},
        "smoke": {"members": 6, "samples": 60, "epochs": 80},
    }

    function: str = Field("cos", description="function to learn, by name or as an expression in x")
    network: Widths = Field((5, 10, 5), description="hidden widths, for example 5,10,5")
    low: float = Field(-10.0, description="lower end of the inputs")
    high: float = Field(10.0, description="upper end of the inputs")
    samples: PositiveInt = Field(1000, description="training inputs, and as many for testing")
    learning_rate: PositiveFloat = Field(1e-3, description="of Adam")
    epochs: PositiveInt = Field(1500, description="steps on the full batch")


@dataclass(frozen=True)
class LayerGradientNorm:
    """The norm of each layer's gradient, at the point where the loss is taken."""

    def __call__(self, moment: "training.TrainingState") -> "torch.Tensor":
        """Take it.

        Args:
            moment: The moment of training, on the full batch.

        Returns:
            (member, layer).
        """
        import torch

        squares: dict[str, torch.Tensor] = {}
        for name, gradient in moment.gradients.views.items():
            layer = name.rpartition(".")[0]
            squares[layer] = squares.get(layer, 0.0) + gradient.double().flatten(1).square().sum(1)
        return torch.stack(list(squares.values()), dim=1).sqrt()


@dataclass(frozen=True)
class PreconditionedEigenvalue:
    """The largest eigenvalue of the Hessian as Adam rescales it."""

    network: "models.MLPConfig"
    examples: "Data"
    beta2: float = 0.999
    eps: float = 1e-8

    def __call__(self, moment: "training.TrainingState") -> "torch.Tensor":
        """Measure it.

        Args:
            moment: The moment of training, after at least one step.

        Returns:
            An eigenvalue for each member.
        """
        second = moment.moments["exp_avg_sq"].vectors().double() / (1 - self.beta2**moment.step)
        surface = surface_of(self.network, self.examples)
        theta = moment.parameters.vectors().double()
        return probes.preconditioned_eigenvalue(surface, theta, preconditioner=second.sqrt() + self.eps)


def plan(settings: Settings) -> Plan:
    """Plan one ensemble.

    Args:
        settings: The study's settings.

    Returns:
        The plan.
    """
    examples = data.function(settings.function, settings.low, settings.high, settings.samples, settings.seed)
    network = models.MLPConfig((1, *settings.network, 1))
    epochs = tuple(sorted({round(one) for one in np.geomspace(1, settings.epochs, 40)}))
    eigenvalue = PreconditionedEigenvalue(network, examples)
    config = training.TrainingConfig(
        network=network,
        data=examples,
        seed=settings.seed,
        optimizer=training.Adam(lr=settings.learning_rate),
        epochs=settings.epochs,
        measurements={
            "layer_gradient_norm": training.Measurement(LayerGradientNorm(), axes=("layer",)),
            "preconditioned_eigenvalue": training.Measurement(eigenvalue, epochs, "curvature_epoch"),
        },
    )
    ensemble = PlannedEnsemble({}, config, range(settings.members))
    return Plan((ensemble,), data={settings.function: examples.origin})


def derive(settings: Settings, records: "xr.DataTree") -> "xr.DataTree":
    """Add the whole gradient's norm, the threshold of stability, and where norms spike and losses bend.

    Args:
        settings: The study's settings.
        records: What the ensemble recorded.

    Returns:
        The results.
    """
    whole = records.to_dataset()
    layers = whole["layer_gradient_norm"]
    norm = np.sqrt((layers**2).sum("layer", skipna=False))
    records.dataset = whole.assign(
        loss=whole["train_loss"],
        gradient_norm=norm,
        stability_threshold=training.stability_threshold(training.Adam(lr=settings.learning_rate)),
    ).assign_coords(layer=[f"layer {place + 1}" for place in range(layers.sizes["layer"])])
    return records


def spikes(norm: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """Find where a member's gradient norm stands out.

    Args:
        norm: By epoch.

    Returns:
        Whether it exceeds three times its running median of 51 epochs, by epoch.
    """
    from scipy.ndimage import median_filter

    spiking: np.ndarray[Any, Any] = norm > _SPIKE * median_filter(norm, size=_WINDOW, mode="nearest")
    return spiking


def bends(loss: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """Find where the slope of a member's log loss changes most.

    Args:
        loss: By epoch.

    Returns:
        Whether the size of the second difference of smoothed log loss is in its top tenth, by epoch.
    """
    from scipy.ndimage import uniform_filter1d

    smooth = uniform_filter1d(np.log(np.maximum(loss, np.finfo(float).tiny)), _SMOOTH, mode="nearest")
    change = np.abs(np.gradient(np.gradient(smooth)))
    top: np.ndarray[Any, Any] = change > np.quantile(change, 0.9)
    return top


def log_odds_ratio(norm: "np.ndarray[Any, Any]", loss: "np.ndarray[Any, Any]") -> float:
    """Compare bends of the loss near spikes of the norm with bends elsewhere.

    Args:
        norm: A member's gradient norm by epoch.
        loss: Its loss.

    Returns:
        ln of the odds ratio, ½ added to each cell; NaN where either is not finite.
    """
    if not (np.isfinite(norm).all() and np.isfinite(loss).all()):
        return float("nan")
    near = np.convolve(spikes(norm), np.ones(2 * _NEAR + 1))[_NEAR:-_NEAR] > 0  # as many as epochs, however few
    bent = bends(loss)
    cells = [float((a & b).sum()) + 0.5 for a in (near, ~near) for b in (bent, ~bent)]
    return float(np.log(cells[0] * cells[3] / (cells[1] * cells[2])))


def _each_member(results: "xr.DataTree") -> "list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]":
    whole = results.to_dataset()
    norm, loss = (whole[name].transpose("member", "epoch").values.astype(float) for name in ("gradient_norm", "loss"))
    return list(zip(norm, loss, strict=True))


def _spikes_bend(results: "xr.DataTree") -> "Sequence[stats.Part]":
    ratios = np.array([log_odds_ratio(norm, loss) for norm, loss in _each_member(results)])
    return [stats.mean_sign(ratios, expected="above", quantity="log odds ratio")]


def _steep_is_fast(results: "xr.DataTree") -> "Sequence[stats.Part]":
    values = np.array([
        stats.spearman_z(norm[:-1], -np.diff(loss)) if np.isfinite(norm).all() else np.nan
        for norm, loss in _each_member(results)
    ])  # fmt: skip
    return [stats.mean_sign(values, expected="above", quantity="rank correlation", shown=stats.FISHER)]


def _almost_zero(results: "xr.DataTree") -> "Sequence[stats.Part]":
    norm = without_diverged(results.to_dataset())["gradient_norm"]
    late = norm.sel(epoch=slice(951, 1000)).median("epoch", skipna=False)
    return [stats.majority((late < 0.01 * norm.max("epoch")).values)]


CLAIMS = (
    Claim(
        "a", "Spikes of the gradient norm go with changes in the slope of the loss.", "mean_sign",
        "the log odds ratio between epochs within 5 of a spike (above 3 times the running median of 51 epochs) and "
        "those in the top tenth of the smoothed log loss's second differences", _spikes_bend,
    ),
    Claim(
        "b", "The loss falls faster where the gradient norm is large.", "mean_sign",
        "the rank correlation of the norm and the loss's next decrease, over epochs", _steep_is_fast,
    ),
    Claim(
        "c", "At convergence the gradient norm is almost zero.", "majority",
        "the share of members whose median norm over epochs 951 to 1,000 is below 1 % of its largest", _almost_zero,
        absolute=True,
    ),
)  # fmt: skip


STUDY = Study(
    name="gradient-norm",
    part="Part 2: optimisation",
    question="What does the gradient norm say while a network trains?",
    about="A network with 131 parameters learns a function of one variable by Adam on the full batch. After every "
    "epoch its loss and the norm of its gradient are taken at the same point, layer by layer, and now and then the "
    "largest eigenvalue of the Hessian as Adam rescales it.",
    reading="Each faint line is one member; the strong line is their mean on the axis's own scale, its band the "
    "pointwise 95 % interval of that mean.",
    shows=(
        "Figure 9: loss by epoch",
        "Figure 10: gradient norm by epoch",
        "gradient norm of each layer",
        "largest eigenvalue of the preconditioned Hessian, beside Adam's threshold of stability",
    ),
    settings=Settings,
    plan=plan,
    derive=derive,
    claims=CLAIMS,
    figures=later("bathymetry.studies.gradient_norm_figures", "figures"),
    seen=later("bathymetry.studies.gradient_norm_figures", "seen"),
)
