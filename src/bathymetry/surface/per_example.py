"""What each example of a loss surface has of its own, beside the norm of its gradient.

A batch plays no part in any of it: an example has the same value in whatever company it is measured.
"""

from jaxtyping import Float
from torch import Tensor

from bathymetry.core.errors import InputError
from bathymetry.surface.automatic import InputDerivative
from bathymetry.surface.batches import Batch
from bathymetry.surface.loss_surface import LossSurface
from bathymetry.surface.outputs import Output, Wrt

_FEW = 8  # examples on which a derivative is held to differences


def example_weights(surface: LossSurface) -> Float[Tensor, " example"]:
    """Tell how much each example counts in the loss.

    Args:
        surface: The loss surface.

    Returns:
        What the mean of each example alone would be divided by, in the order of the data: all the same for a plain
        mean, 0 for an example that the loss ignores, 1 in a loss that is a sum.
    """

    def weights(point: Tensor, batch: Batch) -> Tensor:
        return surface.criterion.weights(batch.targets, batch.rows).to(point.device)

    return surface.by_example(weights)


def example_slopes(
    surface: LossSurface, direction: Float[Tensor, " parameter"], theta: Float[Tensor, " parameter"] | None = None
) -> Float[Tensor, " example"]:
    """Give the product of each example's own gradient with a direction.

    Args:
        surface: The loss surface.
        direction: In parameter space.
        theta: Where, one point.

    Returns:
        gᵢ·v, float64, in the order of the data; 0 for an example that the loss ignores.
    """
    return surface.by_example(
        lambda point, batch: surface.automatic.example_slopes(point, batch, direction.to(point)), theta
    )


def input_derivative_norms(
    surface: LossSurface,
    of: InputDerivative = "loss",
    theta: Float[Tensor, " parameter"] | None = None,
    *,
    output: Output = None,
    wrt: Wrt = None,
) -> Float[Tensor, " example"]:
    """Give the Frobenius norm of a derivative with respect to each example's own input.

    Args:
        surface: The loss surface.
        of: Of the example's loss, of the network's outputs ("logits"), or of their softmax ("probabilities").
        theta: Where, one point.
        output: Which of several outputs: a name, a position, or a function of the network's output.
        wrt: Which of several inputs: a name or a position.

    Returns:
        A norm for each example, float64, in the order of the data.
    """
    checked = False

    def norms(point: Tensor, batch: Batch) -> Tensor:
        nonlocal checked
        measured = surface.automatic.input_norms(point, batch, of, output, wrt)
        if not checked:
            _check_derivative(surface, point, next(batch.split(_FEW)), of, output, wrt)
            checked = True
        return measured

    return surface.by_example(norms, theta)


def _check_derivative(
    surface: LossSurface, theta: Tensor, batch: Batch, of: InputDerivative, output: Output, wrt: Wrt
) -> None:
    """Hold the derivative by the input to differences, in float64 if the network runs in it."""
    exact = surface.automatic.double()
    try:
        exact.try_out(theta, batch)
    except InputError:  # float64 does not suit it
        exact = surface.automatic
    exact.check_input_derivative(theta, batch, of, output, wrt)
