"""Networks, losses and data that a loss surface must take, and the slow truth about each."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.func import functional_call


class Tied(nn.Module):
    """Two layers that share one weight."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.last(self.second(self.first(x).tanh()).tanh())


class Recurrent(nn.Module):
    """An LSTM, which has no forward mode."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.LSTM(4, 3, batch_first=True), nn.Linear(3, 3)

    def forward(self, x):
        return self.head(self.body(x)[0][:, -1])


class Attention(nn.Module):
    """A transformer layer, whose fused attention can't be differentiated twice."""

    def __init__(self):
        super().__init__()
        self.body = nn.TransformerEncoderLayer(4, 2, 6, dropout=0.0, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.body(x)[:, 0])


class TwoInputs(nn.Module):
    """A network that takes two arguments."""

    def __init__(self):
        super().__init__()
        self.body = nn.Bilinear(4, 2, 3)

    def forward(self, left, right):
        return self.body(left, right)


def half_frozen():
    """A perceptron whose first weight is not trained."""
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 3))
    model[0].weight.requires_grad_(False)
    return model


def two_targets(output, first, second):
    """A loss of two targets."""
    return (output - first).square().mean() + (output - second).pow(4).mean()


@dataclass(frozen=True)
class Case:
    build: Callable[[], nn.Module]
    loss: Any
    inputs: tuple[int, ...]  # of one example
    kind: str = "values"  # or "classes", "two values", "pair"

    def batches(self, sizes=(3, 4, 5)) -> list[Any]:
        """Batches of unequal sizes, float64."""
        torch.manual_seed(1)
        return [self._batch(size) for size in sizes]

    def _batch(self, size):
        x = torch.randn(size, *self.inputs, dtype=torch.float64)
        values, others = (torch.randn(size, 3, dtype=torch.float64) for _ in range(2))
        match self.kind:
            case "classes":
                return x, torch.randint(0, 3, (size,))
            case "two values":
                return x, values, others
            case "pair":
                return (x, torch.randn(size, 2, dtype=torch.float64)), values
            case "maps":
                return {"left": x, "right": torch.randn(size, 2, dtype=torch.float64)}, values
        return x, values


def normalised():
    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3))


def perceptron(activation):
    return lambda: nn.Sequential(nn.Linear(4, 5), activation(), nn.Linear(5, 4), activation(), nn.Linear(4, 3))


WEIGHTED = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64))

CASES = {
    "relu perceptron": Case(perceptron(nn.ReLU), nn.MSELoss(), (4,)),
    "tanh perceptron": Case(perceptron(nn.Tanh), "mse", (4,)),
    "sigmoid classifier": Case(perceptron(nn.Sigmoid), nn.CrossEntropyLoss(), (4,), "classes"),
    "linear classifier": Case(lambda: nn.Sequential(nn.Linear(4, 3)), "cross_entropy", (4,), "classes"),
    "gelu perceptron": Case(perceptron(nn.GELU), nn.MSELoss(), (4,)),
    "class weights": Case(perceptron(nn.Tanh), WEIGHTED, (4,), "classes"),
    "ignored class": Case(perceptron(nn.Tanh), nn.CrossEntropyLoss(ignore_index=1), (4,), "classes"),
    "sum": Case(perceptron(nn.Tanh), nn.MSELoss(reduction="sum"), (4,)),
    "function": Case(perceptron(nn.Tanh), lambda output, target: (output - target).abs().pow(3).mean(), (4,)),
    "two targets": Case(perceptron(nn.Tanh), two_targets, (4,), "two values"),
    "two inputs": Case(TwoInputs, "mse", (4,), "pair"),
    "named inputs": Case(TwoInputs, "mse", (4,), "maps"),
    "tied": Case(Tied, "mse", (4,)),
    "frozen": Case(half_frozen, "mse", (4,)),
    "convolution": Case(
        lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.ELU(), nn.Flatten(), nn.Linear(8, 3)),
        "cross_entropy", (1, 4, 4), "classes",
    ),
    "lstm": Case(Recurrent, "cross_entropy", (5, 4), "classes"),
    "attention": Case(lambda: Attention().eval(), "cross_entropy", (5, 4), "classes"),
    "batchnorm, evaluating": Case(lambda: normalised().eval(), "mse", (4,)),
    "weight norm": Case(
        lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 5)), nn.Tanh(), nn.Linear(5, 3)),
        "mse", (4,),
    ),
    "layer norm": Case(
        lambda: nn.Sequential(nn.Linear(4, 3, bias=False), nn.Softplus(), nn.LayerNorm(3)), "mse", (4,)
    ),
}  # fmt: skip


def built(case: Case, device: torch.device | str = "cpu") -> nn.Module:
    torch.manual_seed(0)
    return case.build().double().to(device)


def joined(case: Case, batches: list[Any]) -> Any:
    """All batches as one, which is what the batches must amount to."""
    return tuple(_cat([batch[part] for batch in batches]) for part in range(len(batches[0])))


def _cat(parts):
    if isinstance(parts[0], Tensor):
        return torch.cat(parts)
    if isinstance(parts[0], dict):
        return {key: _cat([part[key] for part in parts]) for key in parts[0]}
    return tuple(_cat(list(some)) for some in zip(*parts, strict=True))


def moved(tree: Any, device: torch.device) -> Any:
    """Data or a loss on a device."""
    if isinstance(tree, Tensor | nn.Module):
        return copy.deepcopy(tree).to(device)
    if isinstance(tree, dict):
        return {key: moved(part, device) for key, part in tree.items()}
    return tuple(moved(part, device) for part in tree) if isinstance(tree, tuple) else tree


def truth(model: nn.Module, case: Case, whole: Any) -> Callable[[Tensor], Tensor]:
    """The loss over all data in one piece, by PyTorch alone, on the model's device."""
    device = next(model.parameters()).device
    inputs, *targets = moved(whole, device)
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    named = {"mse": nn.functional.mse_loss, "cross_entropy": nn.functional.cross_entropy}
    function = named.get(case.loss, case.loss) if isinstance(case.loss, str) else moved(case.loss, device)

    def loss(theta):
        pieces = torch.split(theta, [p.numel() for p in trainable.values()])
        own = {name: piece.view(p.shape) for (name, p), piece in zip(trainable.items(), pieces, strict=True)}
        with mock.patch("torch._weight_norm", _weight_norm):
            if isinstance(inputs, dict):
                return function(functional_call(model, own, (), inputs), *targets)
            arguments = inputs if isinstance(inputs, tuple) else (inputs,)
            return function(functional_call(model, own, arguments), *targets)

    return loss


def _weight_norm(direction: Tensor, length: Tensor, axis: int) -> Tensor:
    """g v/‖v‖; PyTorch's kernel on a GPU rounds to float32 (2.11)."""
    others = [one for one in range(direction.ndim) if one != axis]
    return length * direction / direction.square().sum(others, keepdim=True).sqrt()
