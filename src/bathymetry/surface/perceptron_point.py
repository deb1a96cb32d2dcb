"""What a forward and a backward pass of a perceptron leave behind, from which all its derivatives are made."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class PerceptronPoint:
    """One batch, passed forward and backward at one θ, or at one for each member."""

    weights: list[Tensor]  # (member, output, input) each
    activations: list[Tensor]  # a₀ … a_L, (member, unit, example) each, a₀ without the member axis
    slopes: list[Tensor]  # φ′ of the hidden layers
    bends: list[Tensor | None]  # φ″e / φ′ of the hidden layers; None where it is zero
    errors: list[Tensor]  # δ₁ … δ_L
    losses: Float[Tensor, " member"]
    probabilities: Tensor | None  # of cross-entropy; None for squared error
    scale: float  # of the loss's second derivative
