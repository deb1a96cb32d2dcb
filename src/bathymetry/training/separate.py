"""The slow path: one member after another, for what can't be stacked, such as dropout, BatchNorm and LSTMs."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from bathymetry.core.streams import stream_seed
from bathymetry.training.batch import Batch
from bathymetry.training.stacked import StackedTensors


class SeparateStack:
    """Networks that are trained in turn, their parameters nevertheless in one buffer.

    Args:
        modules: The members; their parameters become views into the buffers.
        parameters: The ensemble's trainable parameters.
        gradients: Where the gradients go.
        loss: The mean loss over a batch.
        members: The members' numbers.
        seed: The seed of the run, for random layers.
    """

    name = "one by one"

    def __init__(
        self,
        modules: Sequence[nn.Module],
        parameters: StackedTensors,
        gradients: StackedTensors,
        loss: Callable[[Tensor, Tensor], Tensor],
        members: range,
        seed: int,
    ) -> None:
        self.modules, self._loss, self._members, self._seed = modules, loss, members, seed
        self.step = 0
        for position, module in enumerate(modules):
            module.train()
            trainable = dict(module.named_parameters())
            for name, own in parameters.member(position).items():
                trainable[name].data = own
                trainable[name].grad = gradients.member(position)[name]

    def differentiate(self, batch: Batch) -> Float[Tensor, " member"]:
        """Write the gradient of every member's loss on a batch.

        Args:
            batch: The same inputs for all members, or each member's own.

        Returns:
            The losses at the parameters as they are, float64.
        """
        losses = []
        with torch.random.fork_rng(devices=[]):
            for position, module in enumerate(self.modules):
                # a member's dropout is its own, whoever is trained beside it
                torch.manual_seed(stream_seed(self._seed, self._members[position], "dropout", self.step))
                for parameter in module.parameters():
                    if parameter.grad is not None:
                        parameter.grad.zero_()
                inputs = batch.inputs if batch.shared else batch.inputs[position]
                loss = self._loss(module(inputs), batch.targets[position])
                loss.backward()  # type: ignore[no-untyped-call]
                losses.append(loss.detach().double())
        self.step += 1
        return torch.stack(losses)

    def outputs(self, inputs: Shaped[Tensor, "example *feature"]) -> Float[Tensor, "member example *output"]:
        """Ask every member the same inputs, in evaluation mode.

        Args:
            inputs: One row an example.

        Returns:
            Their outputs.
        """
        with torch.no_grad():
            answers = []
            for module in self.modules:
                module.eval()
                answers.append(module(inputs))
                module.train()
        return torch.stack(answers)
