"""The gradient's norm: how steep the surface is, in all, layer by layer, and for each example.

    ‖∂L/∂θ‖₂      and for one example of a linear layer z = Wa + b:  ‖∂ℓ/∂W, ∂ℓ/∂b‖² = ‖δ‖² (‖a‖² + 1)

with δ = ∂ℓ/∂z, so that an example's norm needs no gradient of its own: Goodfellow 2015, arXiv:1510.01799.
"""

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import norm
from torch import Tensor

from bathymetry.core.errors import InputError
from bathymetry.core.showing import readable
from bathymetry.probes.points import check_surface, filled, one_place, places
from bathymetry.stats import CONFIDENCE
from bathymetry.stats.per_member import from_left_out
from bathymetry.surface import LossSurface, example_slopes, example_weights


@readable
class GradientNorm:
    """How steep a loss surface is."""

    value: Float[Tensor, "*member"]  # ‖∂L/∂θ‖₂, float64
    by_layer: Float[Tensor, "*member layer"]  # the same for each layer's parameters
    layers: tuple[str, ...]  # their names
    loss: Float[Tensor, "*member"]  # where it was measured


@readable
class ExampleGradientNorms:
    """How steep the loss of each example is."""

    value: Float[Tensor, " example"]  # ‖∂ℓᵢ/∂θ‖₂, float64, in the order of the data
    backend: str  # how they were computed, in words


def gradient_norm(surface: LossSurface, theta: Float[Tensor, "*member parameter"] | None = None) -> GradientNorm:
    """Measure the gradient's norm.

    Args:
        surface: The loss surface.
        theta: One point or one a member; the network's own parameters if None.

    Returns:
        The norm, in all and layer by layer; NaN for a member whose loss is not finite.

    Example:
        L = (3w)² at w = 2 has the gradient 18w.

        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> _ = torch.nn.init.constant_(model.weight, 2.0)
        >>> gradient_norm(LossSurface(model, "mse", (torch.tensor([[3.0]]), torch.tensor([[0.0]])))).value
        tensor(36., dtype=torch.float64)
    """
    where = places(surface, theta)
    gradient = surface.gradient(where.theta).double()
    gradient[~where.finite] = torch.nan
    layers = surface.selection.layers
    by_layer = torch.stack([gradient[:, place].norm(dim=1) for place in layers.values()], dim=1)
    loss = surface.loss(where.theta)
    return GradientNorm(where.given(gradient.norm(dim=1)), where.given(by_layer), tuple(layers), where.given(loss))


def example_gradient_norms(
    surface: LossSurface, theta: Float[Tensor, " parameter"] | None = None
) -> ExampleGradientNorms:
    """Measure the norm of each example's own gradient.

    Args:
        surface: The loss surface; its examples must not depend on one another.
        theta: One point; the network's own parameters if None.

    Returns:
        A norm for each example, of the gradient of a batch of that example alone.

    Example:
        Loss (w·x − y)² at w = 0: gradients −2xy, so −2 and −6.

        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> _ = torch.nn.init.zeros_(model.weight)
        >>> data = torch.ones(2, 1), torch.tensor([[1.0], [3.0]])
        >>> example_gradient_norms(LossSurface(model, "mse", data)).value
        tensor([2., 6.], dtype=torch.float64)
    """
    check_surface(surface)
    return ExampleGradientNorms(surface.example_gradient_norms(one_place(surface, theta)), surface.path)


Vector = np.ndarray[tuple[int], np.dtype[np.float64]]


@readable
class NoiseScale:
    """How much the examples disagree about the way down."""

    value: Float[Tensor, "*member"]  # tr(Σ) / ‖G‖², in examples; infinite where G can't be told from 0
    standard_error: Float[Tensor, "*member"]  # of value, by the jackknife over examples; infinite where value is
    low: Float[Tensor, "*member"]  # of the 95 % interval, which is that of 1/value turned over
    high: Float[Tensor, "*member"]  # likewise; infinite where G could be 0
    gradient_norm: Float[Tensor, "*member"]  # ‖Ĝ‖
    num_examples: int


def noise_scale(surface: LossSurface, theta: Float[Tensor, "*member parameter"] | None = None) -> NoiseScale:
    """Measure the gradient noise scale.

    Args:
        surface: The loss surface. Its loss must be a mean or a sum in which each example counts the same, and the
            examples must not depend on one another.
        theta: One point or one a member; the network's own parameters if None.

    Returns:
        The noise scale with its standard error and interval; NaN for a member that diverged. Where ‖Ĝ‖² is no more than
        noise would make it, value and standard error are infinite and only `low` says something. Where no example has a
        gradient it is NaN.

    Raises:
        InputError: If the data hold fewer than three examples, or the loss counts some more than others.

    Example:
        One weight, loss (w·x − y)² at w = 0: gradients −2y of −2, −4 and −6, so Ĝ = −4 and Σ̂ = 4, and
        B = 4 / (16 − 4/3) = 3/11.

        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> _ = torch.nn.init.zeros_(model.weight)
        >>> data = torch.ones(3, 1), torch.tensor([[1.0], [2.0], [3.0]])
        >>> noise_scale(LossSurface(model, "mse", data)).value
        tensor(0.2727, dtype=torch.float64)
    """
    check_surface(surface)
    if surface.num_examples < 3:
        raise InputError("data", f"{surface.num_examples} examples", "give at least 3, of which a spread can be known")
    weights = example_weights(surface)
    if not bool((weights == weights[0]).all()):
        remedy = "a noise scale needs a plain mean over examples: give a loss without class weights or ignored targets"
        raise InputError("loss", "counts some examples more than others", remedy)
    where = places(surface, theta)
    table = filled(where.each(lambda point: _measured(surface, point)), torch.empty(5, dtype=torch.float64))
    value, error, low, high, length = (where.given(column) for column in table.T)
    return NoiseScale(value, error, low, high, length, surface.num_examples)


def _measured(surface: LossSurface, point: Tensor) -> Float[Tensor, " quantity"]:
    """From each example's squared norm and its product with the mean follow all that leaves one example out."""
    count = surface.num_examples
    mean = surface.gradient(point).double() / (1 if surface.criterion.is_mean else count)
    squares = surface.example_gradient_norms(point).square().cpu().numpy()
    along = example_slopes(surface, mean.to(surface.dtype), point).cpu().numpy()  # Ĝ·gᵢ
    whole = float(mean.square().sum())
    rounding = float(torch.finfo(surface.dtype).eps)

    inverse = _inverse(squares.sum(keepdims=True), np.array([whole]), count, rounding)
    left_mean = (count**2 * whole - 2 * count * along + squares) / (count - 1) ** 2
    left_out = _inverse(squares.sum() - squares, left_mean, count - 1, rounding)
    return torch.tensor([*_turned_over(float(inverse[0]), left_out), whole**0.5], dtype=torch.float64)


def _inverse(total_squares: Vector, mean_square: Vector, count: int, rounding: float) -> Vector:
    """Give 1/B; infinite where all gradients are the same but for rounding, NaN where all are 0."""
    spread = (total_squares - count * mean_square) / (count - 1)
    spread = np.where(spread > 8 * rounding * total_squares / (count - 1), spread, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio: Vector = (mean_square - spread / count) / spread
    return ratio


def _turned_over(inverse: float, left_out: Vector) -> tuple[float, float, float, float]:
    """Give value, standard error, low and high: 1/B is nearly Gaussian also where B is not, or has no finite value."""
    if not np.isfinite(inverse):
        same = 0.0 if inverse > 0 else np.nan
        return same, same, same, same
    with np.errstate(invalid="ignore"):
        error = float(from_left_out(inverse, left_out).standard_error)
    if not np.isfinite(error):  # without one of them the others agree
        return 1 / inverse if inverse > 0 else np.inf, np.inf, 0.0, np.inf
    reach = float(norm.ppf((1 + CONFIDENCE) / 2)) * error
    low, high = (1 / end if end > 0 else np.inf for end in (inverse + reach, inverse - reach))
    if inverse <= 0:
        return np.inf, np.inf, low, high
    return 1 / inverse, error / inverse**2, low, high
