"""The general path: any network that `torch.func` can batch, all members differentiated in one call."""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from bathymetry.training.batch import Batch
from bathymetry.training.stacked import StackedTensors


class FunctionalStack:
    """Networks of any one architecture, without random layers or running statistics.

    Args:
        module: One of the members, whose structure all share.
        parameters: The ensemble's trainable parameters.
        gradients: Where the gradients go.
        constants: Frozen parameters and buffers, (member, *shape) each.
        loss: The mean loss over a batch.
    """

    name = "batched by torch.func"

    def __init__(
        self,
        module: nn.Module,
        parameters: StackedTensors,
        gradients: StackedTensors,
        constants: Mapping[str, Tensor],
        loss: Callable[[Tensor, Tensor], Tensor],
    ) -> None:
        self._parameters, self._gradients, self._constants = parameters, gradients, dict(constants)

        def one_output(own: dict[str, Tensor], constant: dict[str, Tensor], inputs: Tensor) -> Tensor:
            output: Tensor = functional_call(module, (own, constant), (inputs,))
            return output

        def one_loss(own: dict[str, Tensor], constant: dict[str, Tensor], inputs: Tensor, target: Tensor) -> Tensor:
            return loss(one_output(own, constant, inputs), target)

        differentiated = grad_and_value(one_loss)
        self._shared = vmap(differentiated, in_dims=(0, 0, None, 0))
        self._own = vmap(differentiated, in_dims=(0, 0, 0, 0))
        self._outputs = vmap(one_output, in_dims=(0, 0, None))

    def differentiate(self, batch: Batch) -> Float[Tensor, " member"]:
        """Write the gradient of every member's loss on a batch.

        Args:
            batch: The same inputs for all members, or each member's own.

        Returns:
            The losses at the parameters as they are, float64.
        """
        call = self._shared if batch.shared else self._own
        gradients, losses = call(dict(self._parameters.views), self._constants, batch.inputs, batch.targets)
        for name, gradient in gradients.items():
            self._gradients.views[name].copy_(gradient)
        values: Tensor = losses.detach().double()
        return values

    def outputs(self, inputs: Shaped[Tensor, "example *feature"]) -> Float[Tensor, "member example *output"]:
        """Ask every member the same inputs.

        Args:
            inputs: One row an example.

        Returns:
            Their outputs.
        """
        with torch.no_grad():
            outputs: Tensor = self._outputs(dict(self._parameters.views), self._constants, inputs)
        return outputs
