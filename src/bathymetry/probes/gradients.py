"""Gradient norms, the gradient noise scale, and the sensitivity to the input.

    ‖∂L/∂θ‖₂                         gradient norm, in total, by layer and by example
    B = tr(Σ) / ‖G‖²                 gradient noise scale: McCandlish et al. 2018, arXiv:1812.06162
    mean over examples of ‖∂f/∂x‖_F  sensitivity: Novak et al. 2018, arXiv:1802.08760

G is the mean gradient and Σ the covariance of the examples' gradients. With batches much smaller than B steps are
dominated by noise; much larger batches gain little per example. ‖Ĝ‖² is larger than ‖G‖² by tr(Σ)/n on average, which
is subtracted. The interval is that of 1/B, which is nearly Gaussian also where B has no finite value.

In the sensitivity f is the outputs (logits), their softmax (probabilities), or the example's own term of the loss,
Σₜ wₜ ℓₜ / T over its T outputs or labels with weights wₜ, so that batches play no part. Of a summed loss it is the sum.
"""

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import norm
from torch import Tensor

from bathymetry.core.errors import InputError
from bathymetry.core.showing import readable
from bathymetry.probes.points import Theta, as_points, check_surface, one_of
from bathymetry.stats.per_member import jackknife_error
from bathymetry.stats.verdict import CONFIDENCE
from bathymetry.surface import LossSurface
from bathymetry.surface.derivatives import InputDerivative
from bathymetry.surface.selection import Output, Wrt

Vector = np.ndarray[tuple[int], np.dtype[np.float64]]


@readable
class GradientNorm:
    """The gradient norm, and the loss at the same point."""

    value: Float[Tensor, "*member"]  # ‖∂L/∂θ‖₂, float64
    by_layer: Float[Tensor, "*member layer"]  # of each layer's parameters
    layers: tuple[str, ...]  # their names
    loss: Float[Tensor, "*member"]


def gradient_norm(surface: LossSurface, theta: Theta = None) -> GradientNorm:
    """Measure the gradient norm, in total and by layer.

    Args:
        surface: Loss surface.
        theta: One point or one per member. Defaults to the model's current parameters.

    Returns:
        The norms; NaN for a member whose loss is not finite.

    Example:
        L = (3w)² at w = 2 has the gradient 18w.

        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> _ = torch.nn.init.constant_(model.weight, 2.0)
        >>> gradient_norm(LossSurface(model, "mse", (torch.tensor([[3.0]]), torch.tensor([[0.0]])))).value
        tensor(36., dtype=torch.float64)
    """
    surface, points = as_points(surface, theta)
    gradient = surface.gradient(points.theta).double()
    gradient[~points.finite] = torch.nan
    layers = surface.selection.layers
    by_layer = torch.stack([gradient[:, place].norm(dim=1) for place in layers.values()], dim=1)
    return GradientNorm(
        value=points.squeeze(gradient.norm(dim=1)),
        by_layer=points.squeeze(by_layer),
        layers=tuple(layers),
        loss=points.squeeze(points.loss),
    )


@readable
class ExampleGradientNorms:
    """The norm of each example's gradient."""

    value: Float[Tensor, " example"]  # ‖∂ℓᵢ/∂θ‖₂, float64, in the order of the data
    backend: str  # how they were computed


def example_gradient_norms(surface: LossSurface, theta: Theta = None) -> ExampleGradientNorms:
    """Measure the norm of each example's own gradient.

    Args:
        surface: Loss surface; its examples must not depend on one another.
        theta: One point. Defaults to the model's current parameters.

    Returns:
        For each example the norm of the gradient of a batch of that example alone.

    Example:
        Loss (w·x − y)² at w = 0: gradients −2xy, so −2 and −6.

        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> _ = torch.nn.init.zeros_(model.weight)
        >>> data = torch.ones(2, 1), torch.tensor([[1.0], [3.0]])
        >>> example_gradient_norms(LossSurface(model, "mse", data)).value
        tensor([2., 6.], dtype=torch.float64)
    """
    surface, points = as_points(surface, theta)
    return ExampleGradientNorms(surface.example_gradient_norms(points.one()), surface.backend)


@readable
class NoiseScale:
    """The gradient noise scale with its interval."""

    value: Float[Tensor, "*member"]  # tr(Σ) / ‖G‖², in examples; infinite where the estimate of ‖G‖² is not positive
    standard_error: Float[Tensor, "*member"]  # by the jackknife over examples; infinite where value is
    low: Float[Tensor, "*member"]  # of the 95 % interval
    high: Float[Tensor, "*member"]  # infinite where G could be 0
    gradient_norm: Float[Tensor, "*member"]  # ‖Ĝ‖
    num_examples: int


def noise_scale(surface: LossSurface, theta: Theta = None) -> NoiseScale:
    """Estimate the gradient noise scale.

    Args:
        surface: Loss surface. Its loss is a mean or a sum in which all examples count the same, and its examples do
            not depend on one another.
        theta: One point or one per member. Defaults to the model's current parameters.

    Returns:
        The noise scale with its standard error and interval; NaN for a member that diverged, and where no example has
        a gradient. Where noise explains ‖Ĝ‖², value and standard error are infinite and only `low` is informative.

    Raises:
        InputError: If there are fewer than three examples, or some count more than others.

    Example:
        Loss (w·x − y)² at w = 0: gradients −2, −4 and −6, so Ĝ = −4 and Σ̂ = 4, and B = 4 / (16 − 4/3) = 3/11.

        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> _ = torch.nn.init.zeros_(model.weight)
        >>> data = torch.ones(3, 1), torch.tensor([[1.0], [2.0], [3.0]])
        >>> noise_scale(LossSurface(model, "mse", data)).value
        tensor(0.2727, dtype=torch.float64)
    """
    check_surface(surface)
    if surface.num_examples < 3:
        raise InputError("data", f"{surface.num_examples} examples", "expected at least 3, for a jackknife")
    weights = surface.example_weights()
    if not bool((weights == weights[0]).all()):
        remedy = "expected a plain mean over examples: a loss without class weights or ignored targets"
        raise InputError("loss", "counts some examples more than others", remedy)
    surface, points = as_points(surface, theta)
    value, error, low, high, mean = points.table(lambda point: _noise_scale(surface, point), 5).unbind(-1)
    return NoiseScale(value, error, low, high, mean, surface.num_examples)


def _noise_scale(surface: LossSurface, point: Tensor) -> Float[Tensor, " quantity"]:
    """B with its standard error, interval and ‖Ĝ‖, from the norms ‖gᵢ‖² and the products Ĝ·gᵢ."""
    count = surface.num_examples
    mean = surface.gradient(point).double() / (1 if surface.criterion.is_mean else count)
    squares = surface.example_gradient_norms(point).square().cpu().numpy()
    products = surface.example_slopes(mean.to(surface.dtype), point).cpu().numpy()
    square = float(mean.square().sum())
    rounding = float(torch.finfo(surface.dtype).eps)

    inverse = float(_inverse(squares.sum(keepdims=True), np.array([square]), count, rounding)[0])
    square_without = (count**2 * square - 2 * count * products + squares) / (count - 1) ** 2
    inverses_without = _inverse(squares.sum() - squares, square_without, count - 1, rounding)
    return torch.tensor([*_inverted(inverse, inverses_without), square**0.5], dtype=torch.float64)


def _inverse(total_squares: Vector, mean_square: Vector, count: int, rounding: float) -> Vector:
    """1/B; infinite where all gradients are equal up to rounding, NaN where all are 0."""
    spread = (total_squares - count * mean_square) / (count - 1)
    spread = np.where(spread > 8 * rounding * total_squares / (count - 1), spread, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio: Vector = (mean_square - spread / count) / spread
    return ratio


def _inverted(inverse: float, left_out: Vector) -> tuple[float, float, float, float]:
    """B with its standard error and interval, from 1/B of all examples and of all but one."""
    if not np.isfinite(inverse):
        same = 0.0 if inverse > 0 else np.nan
        return same, same, same, same
    with np.errstate(invalid="ignore"):
        error = float(jackknife_error(left_out))
    if not np.isfinite(error):  # without one of them the other gradients are equal
        return 1 / inverse if inverse > 0 else np.inf, np.inf, 0.0, np.inf
    half = float(norm.ppf((1 + CONFIDENCE) / 2)) * error
    low, high = (1 / end if end > 0 else np.inf for end in (inverse + half, inverse - half))
    if inverse <= 0:
        return np.inf, np.inf, low, high
    return 1 / inverse, error / inverse**2, low, high


@readable
class Sensitivity:
    """The norm of the derivative with respect to the input."""

    value: Float[Tensor, "*member"]  # mean over examples
    per_example: Float[Tensor, "*member example"]
    of: str


def sensitivity(
    surface: LossSurface, theta: Theta = None, *, of: InputDerivative = "loss", output: Output = None, wrt: Wrt = None
) -> Sensitivity:
    """Measure the sensitivity to the input.

    Args:
        surface: Loss surface; the derivative is taken at the inputs of its data.
        theta: One point or one per member. Defaults to the model's current parameters.
        of: "loss", "logits" (the outputs) or "probabilities" (their softmax over the classes).
        output: Which of several outputs: a name, a position, or a function of the network's output.
        wrt: Which of several inputs: its name in a mapping or its position in a tuple.

    Returns:
        The mean norm, and that of each example; NaN for a member that diverged.

    Example:
        The logits of softmax regression are Wx + b, whose derivative is W everywhere: ‖W‖_F = 5.

        >>> model = torch.nn.Linear(2, 1)
        >>> model.weight.data = torch.tensor([[3.0, 4.0]])
        >>> data = torch.randn(6, 2), torch.zeros(6, 1)
        >>> sensitivity(LossSurface(model, "mse", data), of="logits").value
        tensor(5., dtype=torch.float64)
    """
    one_of("of", of, InputDerivative)
    surface, points = as_points(surface, theta)

    def measure(point: Tensor) -> Tensor:
        return surface.input_derivative_norms(of, point, output=output, wrt=wrt).cpu()

    norms = points.table(measure, surface.num_examples)
    return Sensitivity(norms.mean(-1), norms, of)
