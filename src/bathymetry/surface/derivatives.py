"""What every way of differentiating offers: the loss of one batch, its gradient, and products with its Hessian."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from bathymetry.surface.batches import Batch

Product = Callable[[Float[Tensor, "member vector parameter"]], Float[Tensor, "member vector parameter"]]


@runtime_checkable
class Derivatives(Protocol):
    """One batch's loss as a function of θ, for several θ at once."""

    @property
    def path(self) -> str:
        """Which way runs, in words."""

    def loss(self, theta: Float[Tensor, "member parameter"], batch: Batch) -> Float[Tensor, " member"]: ...

    def outputs(
        self, theta: Float[Tensor, "member parameter"], batch: Batch
    ) -> Float[Tensor, "member example *output"]: ...

    def gradient(self, theta: Float[Tensor, "member parameter"], batch: Batch) -> Float[Tensor, "member parameter"]: ...

    def product(self, theta: Float[Tensor, "member parameter"], batch: Batch) -> Product: ...

    def hessian(
        self, theta: Float[Tensor, "member parameter"], batch: Batch
    ) -> Float[Tensor, "member parameter parameter"] | None: ...  # None: only through products

    def example_norms(self, theta: Float[Tensor, " parameter"], batch: Batch) -> Float[Tensor, " example"]: ...

    def bytes_an_example(self, theta: Float[Tensor, "member parameter"], batch: Batch) -> int: ...
