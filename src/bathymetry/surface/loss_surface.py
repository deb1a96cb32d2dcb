"""The loss surface of a network: parameters θ ↦ loss, for one network, one loss function and one set of data."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, get_args

import torch
from jaxtyping import Float
from scipy.sparse.linalg import LinearOperator
from torch import Tensor, nn
from torch.nn.modules.loss import _Loss

from bathymetry.core.errors import InputError, positive_number
from bathymetry.core.networks import unwrapped
from bathymetry.surface.answers import right_answers
from bathymetry.surface.automatic import AutomaticDerivatives
from bathymetry.surface.batches import Batch, Batches
from bathymetry.surface.checks import check_surface
from bathymetry.surface.derivatives import Derivatives
from bathymetry.surface.fixed_tensors import differing_tensors
from bathymetry.surface.formulas import perceptron_formulas
from bathymetry.surface.network import Mode, Network
from bathymetry.surface.outputs import Output
from bathymetry.surface.parameters import select
from bathymetry.surface.product import Again, HessianProduct, weighted_sum
from bathymetry.surface.randomness import HiddenRandomness
from bathymetry.training.loss import Criterion, Loss

_MAX_BYTES = 2**31
_TRIED = 8  # batches in which a finite loss is looked for
_GRAPHS = 5  # a linearized gradient keeps about this many times what a forward pass does
_VECTORS = 3  # and about this many vectors of the length of θ


class LossSurface:
    """The loss as a function of a network's parameters, with its derivatives.

    Everywhere, θ is None for the network's own parameters as they are at that moment, (P,) for one point, or (M, P) for
    the points of an ensemble; results gain its leading member axis. Sums over batches are in float64 and weighted by
    what each batch's mean was divided by. The network is left as it was found.

    Args:
        model: Any network. Layers stay in the mode they are in; random ones are refused.
        loss: A loss module with reduction mean or sum; a function of (output, *targets) that returns the mean over its
            batch or (sum, count); a function of (model, batch) that returns the same; or "mse" or "cross_entropy".
        data: (inputs, targets) as tensors; an iterable of such batches, of any sizes; a DataLoader in a fixed order;
            or what `bm.load` gives, whose training set is meant (its `.test` is the other). A loss of the outputs alone
            takes batches (inputs,); a batch may be a mapping, whose entries the network takes by name.
        mode: "as_is" for layers in the modes they are in; "no_dropout" for evaluation mode in all but normalisations,
            which stay in theirs: in a network that trains, random layers are off and BatchNorm uses its batch.
        params: Parameters or layers to measure, by name; the others stay fixed. None for all that are trainable.
        dtype: What to measure in, for example `torch.float64`; None for the network's own.
        max_bytes: About how many bytes to use at once.

    Raises:
        InputError: If the data, the loss or the network can't make a surface; the sentence says why.

    Example:
        One weight w at 2, one input 3, target 0: L = (3w)², so L = 36, ∂L = 18w = 36, ∂²L = 18.

        >>> model = nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.constant_(model.weight, 2.0)
        >>> surface = LossSurface(model, "mse", (torch.tensor([[3.0]]), torch.tensor([[0.0]])))
        >>> surface.loss().item(), surface.gradient().tolist(), surface.hessian().tolist()
        (36.0, [36.0], [[18.0]])
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        data: Any,
        *,
        params: Sequence[str] | None = None,
        dtype: torch.dtype | None = None,
        max_bytes: int = _MAX_BYTES,
        mode: Mode = "as_is",
    ) -> None:
        if not any(dtype is one for one in (None, torch.float32, torch.float64)):
            raise InputError("dtype", dtype, "give torch.float32, torch.float64 or None")
        positive_number("max_bytes", max_bytes)
        if not isinstance(mode, str) or mode not in get_args(Mode):
            raise InputError("mode", mode, f"expected one of {', '.join(get_args(Mode))}")
        model = unwrapped(model)
        self._network = Network(model, dtype, mode)
        self._model, self._max_bytes, self._mode = model, int(max_bytes), mode
        self.selection = select(model, params, dtype)
        self.params = None if params is None else list(self.selection.shapes)
        self.criterion = Criterion(loss, dtype)
        self._batches = data if isinstance(data, Batches) else Batches(data)
        self.num_examples = self._batches.num_examples
        formulas = perceptron_formulas(model, self.criterion, self.selection, self._batches)
        self.automatic = AutomaticDerivatives(self._network, self.criterion, self.selection)
        self._derivatives: Derivatives = formulas or self.automatic
        first = self._placed(self._batches.first)
        if isinstance(self.criterion.loss, _Loss) and (not first.targets or first.targets[0] is None):
            remedy = "it compares outputs with targets: expected (inputs, targets), or a loss of the outputs alone"
            raise InputError("loss", self.criterion.name, remedy)
        self.automatic.before_products = check_surface(
            self._network,
            self.criterion,
            self.selection,
            self.parameters,
            lambda: map(self._placed, self._batches),
            has_formulas=formulas is not None,
        )
        weights = [self.criterion.weight(batch.targets, batch.rows) for batch in self._batches]
        self._whole = sum(weights) if self.criterion.is_mean else 1.0
        if self._whole <= 0:
            raise InputError("data", f"targets that weigh {self._whole:g} in all", "give targets that the loss counts")

    def __repr__(self) -> str:
        what = f"{self._network.kind}, {self.dimension:,} parameters, {self.criterion.name}"
        batches = f"{self._batches.count:,} batches" if self._batches.count > 1 else "1 batch"
        dtype = str(self.dtype).removeprefix("torch.")
        return f"LossSurface({what} over {self.num_examples:,} examples in {batches}, {dtype}; {self.path})"

    @property
    def dimension(self) -> int:
        """P, the number of coordinates of θ."""
        return self.selection.dimension

    @property
    def dtype(self) -> torch.dtype:
        """What θ is measured in."""
        return self.selection.dtype

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(p.device for name, p in self._model.named_parameters() if name in self.selection.shapes)

    @property
    def path(self) -> str:
        """How derivatives are computed, in words."""
        return self._derivatives.path

    @property
    def has_classes(self) -> bool:
        """Whether the targets are classes: one an example, or several under a loss of classes."""
        first, *_ = self._batches.first.targets or (None,)
        whole = isinstance(first, Tensor) and first.dtype == torch.int64
        return whole and (first.ndim == 1 or (first.ndim > 1 and self.criterion.by_class))

    @property
    def parameters(self) -> Float[Tensor, " parameter"]:
        """The network's own θ as it is now, a copy."""
        return self.selection.join(dict(self._model.named_parameters()))

    def named_parameters(self) -> dict[str, nn.Parameter]:
        """Give the network's own parameters of which θ is made.

        Returns:
            Parameters by name, in the order of θ.
        """
        own = dict(self._model.named_parameters())
        return {name: own[name] for name in self.selection.shapes}

    def flatten(self, network: nn.Module) -> Float[Tensor, " parameter"]:
        """Give the parameters of another network as a point of this surface.

        Args:
            network: Of the same architecture, for example another member or what `bm.align` gives.

        Returns:
            Its θ, a copy, on this surface's device.

        Raises:
            InputError: If it lacks a parameter or has it in another shape, or has something beside θ that this
                surface's network has otherwise and that changes the loss, such as BatchNorm's running statistics.
        """
        theta, beside = self.place(network, "network")
        if beside:
            remedy = (
                "θ does not hold it: expected bm.LossSurface(network, loss, data) for a surface of its own, or the "
                "networks themselves as the ends of bm.probes.interpolate"
            )
            raise InputError("network", f"a network whose {next(iter(beside))} is not this surface's", remedy)
        return theta

    def place(self, network: nn.Module, field: str) -> tuple[Float[Tensor, " parameter"], dict[str, Tensor]]:
        """Find a network's point, and what the surface needs beside it to give the network's own loss.

        Args:
            network: Of the same architecture.
            field: What to call it in a complaint.

        Returns:
            Its θ on this surface's device; and its running statistics and other fixed tensors, by name, if they are
            not those of this surface's network and change the loss.
        """
        network = unwrapped(network, field)
        theta = self.selection.of(network).to(self.device)
        return theta, differing_tensors(self, network, theta, field)

    def loss(self, theta: Float[Tensor, "*member parameter"] | None = None) -> Float[Tensor, "*member"]:
        """Give the loss over all data.

        Args:
            theta: Where.

        Returns:
            The loss, float64; NaN where it is.
        """
        points, single = self.points(theta)
        total = torch.zeros(len(points), dtype=torch.float64, device=points.device)
        with self._network.measuring():
            for share, batch in self._shares(points, 1):
                total += share * self._derivatives.loss(points, batch).detach().double()
        return total[0] if single else total

    def accuracy(
        self, theta: Float[Tensor, "*member parameter"] | None = None, *, output: Output = None
    ) -> Float[Tensor, "*member"]:
        """Give the share of labels whose largest output is that of their class; those that the loss ignores aside.

        Args:
            theta: Where.
            output: Which of several outputs: a name, a position, or a function of the network's output.

        Returns:
            The accuracy, float64; an output that is not a number is no answer.

        Raises:
            InputError: If the targets are not classes.
        """
        points, single = self.points(theta)
        correct = torch.zeros(len(points), dtype=torch.float64, device=points.device)
        labels = 0
        with self._network.measuring():
            for _, batch in self._pieces(points, 1):
                target, *_ = batch.targets or (None,)
                if not isinstance(target, Tensor) or target.is_floating_point() or target.ndim == 0:
                    raise InputError("data", "targets that are no classes", "an accuracy needs class numbers")
                if output is None:
                    outputs = self._derivatives.outputs(points, batch)
                else:
                    outputs = self.automatic.outputs(points, batch, output)
                counted = self.criterion.counted(target)
                right = right_answers(outputs, target, by_class=self.criterion.by_class) & counted
                correct += right.flatten(1).sum(1)
                labels += int(counted.sum())
        share = correct / labels
        return share[0] if single else share

    def gradient(self, theta: Float[Tensor, "*member parameter"] | None = None) -> Float[Tensor, "*member parameter"]:
        """Give the gradient of the loss over all data.

        Args:
            theta: Where.

        Returns:
            ∂L/∂θ, of the shape of θ.
        """
        points, single = self.points(theta)
        with self._network.measuring():
            shares = self._shares(points, 2)
            total = weighted_sum((share, self._derivatives.gradient(points, batch).detach()) for share, batch in shares)
        return total[0] if single else total

    def example_gradient_norms(self, theta: Float[Tensor, " parameter"] | None = None) -> Float[Tensor, " example"]:
        """Give the norm of each example's own gradient.

        Args:
            theta: Where, one point.

        Returns:
            ‖∂ℓᵢ/∂θ‖₂, float64, in the order of the data, ℓᵢ the loss of a batch of that example alone; 0 for one that
            the loss ignores.
        """
        return self.by_example(self._derivatives.example_norms, theta)

    def by_example(
        self,
        measure: Callable[[Float[Tensor, " parameter"], Batch], Float[Tensor, " example"]],
        theta: Float[Tensor, " parameter"] | None = None,
    ) -> Float[Tensor, " example"]:
        """Measure each example by itself, some at a time.

        Args:
            measure: What to measure at a point, of each example in a batch; a batch may be a part of one of the data's.
            theta: Where, one point.

        Returns:
            What was measured, float64, in the order of the data.

        Raises:
            InputError: If examples depend on one another, as in BatchNorm while training, or θ is several points.
        """
        if self._network.couples_examples:
            raise self._network.coupling_error()
        points, single = self.points(theta)
        if not single:
            raise InputError("theta", f"{len(points)} members", "examples are measured at one point: give (parameter,)")
        with self._network.measuring():
            parts = [measure(points[0], batch) for _, batch in self._pieces(points, _GRAPHS)]
        return torch.cat(parts).detach().double()

    def double(self) -> "LossSurface":
        """Measure the same surface in float64.

        Returns:
            This surface if it is in float64 already, else another of the same network, loss and data.
        """
        return self if self.dtype == torch.float64 else self._in(torch.float64)

    def at_least_float32(self, stacklevel: int = 2) -> "LossSurface":
        """Measure the same surface in float32 if the network computes in less, with a warning that says so.

        In bfloat16 or float16 small steps vanish, and so do differences of losses and gradients.

        Args:
            stacklevel: Of the warning, as `warnings.warn` takes it.

        Returns:
            This surface, or another of the same network, loss and data.
        """
        if self._network.precision <= torch.finfo(torch.float32).eps:
            return self
        message = f"{self._network.kind} computes in less than float32, in which small differences vanish"
        warnings.warn(f"{message}: measured as by LossSurface(..., dtype=torch.float32)", stacklevel=stacklevel)
        return self._in(torch.float32)

    def _in(self, dtype: torch.dtype) -> "LossSurface":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", HiddenRandomness)  # said when this one was made
            surface = LossSurface(
                self._model, self.criterion.loss, self._batches, params=list(self.selection.shapes), dtype=dtype,
                max_bytes=self._max_bytes, mode=self._mode,
            )  # fmt: skip
        surface.params = self.params
        return surface

    def product(self, theta: Float[Tensor, "*member parameter"] | None = None) -> HessianProduct:
        """Prepare products with the Hessian at one place.

        Args:
            theta: Where.

        Returns:
            An operator: call it with vectors as often as you like. What fits into memory is computed once.
        """
        points, single = self.points(theta)
        kept: list[tuple[float, Callable[[Tensor], Tensor], int]] = []
        room = self._max_bytes // 2
        needed = sum(batch.rows * self._bytes(points, batch) * _GRAPHS for batch in self._batches)
        needed += (self._batches.count - 1) * _VECTORS * points.nbytes  # beside those of the first
        if needed > room:
            return HessianProduct(points, Again(lambda: self._prepared(points)), lambda: self.path, single=single)
        with self._network.measuring():
            for share, batch in self._shares(points, _GRAPHS):
                block = self._vectors_at_once(points, batch, room)
                kept.append((share, self._guarded(self._derivatives.product(points, batch)), block))
        return HessianProduct(points, kept, lambda: self.path, single=single)

    def hvp(
        self, v: Float[Tensor, "*vector parameter"], theta: Float[Tensor, "*member parameter"] | None = None
    ) -> Float[Tensor, "*vector parameter"]:
        """Multiply one vector or several by the Hessian. For many calls at one θ, `product` saves the preparation.

        Args:
            v: (P,) or (K, P); for an ensemble (M, P), a vector each, or (M, K, P).
            theta: Where.

        Returns:
            Hv, of the shape of v.
        """
        return self.product(theta)(v)

    def hessian(
        self, theta: Float[Tensor, "*member parameter"] | None = None
    ) -> Float[Tensor, "*member parameter parameter"]:
        """Give the whole Hessian of the loss over all data, symmetric to the last bit.

        Args:
            theta: Where.

        Returns:
            ∂²L/∂θ², (P, P) or (M, P, P).

        Raises:
            InputError: If it does not fit into the memory allowed.
        """
        points, single = self.points(theta)
        size = 2 * len(points) * self.dimension**2 * 8
        if size > 4 * self._max_bytes:
            remedy = "use products, or probes that need nothing else, or give the surface more max_bytes"
            raise InputError("max_bytes", f"{self._max_bytes} bytes for Hessians that need {size}", remedy)
        whole = self._hessians(points)
        return (whole[0] if single else whole).to(self.dtype)

    def linear_operator(self, theta: Float[Tensor, " parameter"] | None = None) -> LinearOperator:
        """Give the Hessian as an operator of SciPy.

        Args:
            theta: Where, one point.

        Returns:
            A symmetric `LinearOperator`.
        """
        return self.product(theta).linear_operator()

    def batches(self, theta: Float[Tensor, "member parameter"], copies: int) -> Iterator[tuple[float, Batch]]:
        """Give the data in parts that fit into memory, each with its share of the loss.

        Args:
            theta: Parameters, whose members are computed at once.
            copies: How many times a forward pass's activations will be held.

        Yields:
            (share, batch) with shares that make a mean of means, on the network's device.
        """
        yield from self._shares(theta, copies)

    def points(
        self, theta: Float[Tensor, "*member parameter"] | None, field: str = "theta"
    ) -> tuple[Float[Tensor, "member parameter"], bool]:
        """Lay out where to measure.

        Args:
            theta: One point, one a member, or None for the network's own parameters.
            field: What to call it in a complaint.

        Returns:
            The points, and whether there was one, without a member axis.
        """
        if theta is None:
            return self.parameters[None], True
        return self.selection.points(theta, self.device, field)

    def _placed(self, batch: Batch) -> Batch:
        device = self.device
        return batch.map(lambda tensor: self._network.cast(tensor.detach().to(device)))

    def _bytes(self, points: Tensor, batch: Batch) -> int:
        with self._network.measuring():
            return len(points) * self._derivatives.bytes_an_example(points, self._placed(batch))

    def _pieces(self, points: Tensor, copies: int) -> Iterator[tuple[float, Batch]]:
        rows: int | None = None
        for batch in self._batches:
            placed = self._placed(batch)
            if rows is None:
                each = len(points) * self._derivatives.bytes_an_example(points, placed) * copies
                rows = max(1, self._max_bytes // each)
            whole = self._network.couples_examples or placed.rows <= rows
            for piece in [placed] if whole else placed.split(rows):
                yield self.criterion.weight(piece.targets, piece.rows) / self._whole, piece

    def _shares(self, points: Tensor, copies: int) -> Iterator[tuple[float, Batch]]:
        # a piece that weighs nothing may well have a loss of 0/0
        return ((share, piece) for share, piece in self._pieces(points, copies) if share > 0)

    def _guarded(self, product: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def guarded(vectors: Tensor) -> Tensor:
            with self._network.measuring():
                return product(vectors).detach()

        return guarded

    def _hessians(self, points: Tensor) -> Float[Tensor, "member parameter parameter"]:
        total = torch.zeros((), dtype=torch.float64, device=points.device)
        with self._network.measuring():
            for share, batch in self._shares(points, _GRAPHS):
                own = self._derivatives.hessian(points, batch)
                if own is None:
                    return self._by_products(points)
                total = total + share * own.double()
        return (total + total.transpose(1, 2)) / 2

    def _by_products(self, points: Tensor) -> Tensor:
        product = self.product(points)
        identity = torch.eye(self.dimension, dtype=self.dtype, device=self.device)
        columns = product(identity.expand(len(points), -1, -1)).double()
        return (columns + columns.transpose(1, 2)) / 2

    def _vectors_at_once(self, points: Tensor, batch: Batch, room: int) -> int:
        return max(1, room // (3 * (batch.rows * self._bytes(points, batch) + points.nbytes)))

    def _prepared(self, points: Tensor) -> Iterator[tuple[float, Callable[[Tensor], Tensor], int]]:
        room = self._max_bytes // 2
        with self._network.measuring():
            for share, batch in self._shares(points, 2 * _GRAPHS):
                yield share, self._derivatives.product(points, batch), self._vectors_at_once(points, batch, room)
