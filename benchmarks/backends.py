"""Is vmap or a loop faster for a general network? Milliseconds of processor time per step; sets `VMAP_NUMBERS`."""

import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from bathymetry.training import train

EXAMPLES = 1024


class Normalised(nn.Module):
    """Linear layers with layer normalisation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.norm = nn.Linear(20, width), nn.LayerNorm(width)
        self.second, self.last = nn.Linear(width, width), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return class scores."""
        return self.last(nn.functional.gelu(self.second(nn.functional.gelu(self.norm(self.first(x))))))


class Words(nn.Module):
    """The mean of the vectors of ten words."""

    def __init__(self) -> None:
        super().__init__()
        self.vectors, self.last = nn.Embedding(500, 16), nn.Linear(16, 10)

    def forward(self, words: Tensor) -> Tensor:
        """Return class scores."""
        return self.last(self.vectors(words).mean(1))


class Block(nn.Module):
    """A residual block with group normalisation."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList([nn.GroupNorm(4, outputs), nn.GroupNorm(4, outputs)])
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        hidden = nn.functional.relu(self.norms[0](self.first(x)))
        return nn.functional.relu(self.norms[1](self.second(hidden)) + self.shortcut(x))


class Recurrent(nn.Module):
    """An LSTM written out; nn.LSTM always trains in a loop."""

    def __init__(self) -> None:
        super().__init__()
        self.inputs, self.hidden, self.last = nn.Linear(8, 128), nn.Linear(32, 128), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return class scores."""
        hidden = cell = x.new_zeros(len(x), 32)
        for step in range(x.shape[1]):
            i, f, g, o = (self.inputs(x[:, step]) + self.hidden(hidden)).chunk(4, 1)
            cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
            hidden = o.sigmoid() * cell.tanh()
        return self.last(hidden)


class Attention(nn.Module):
    """A transformer block."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(32), nn.LayerNorm(32)])
        self.qkv, self.out = nn.Linear(32, 96), nn.Linear(32, 32)
        self.mlp = nn.Sequential(nn.Linear(32, 128), nn.GELU(), nn.Linear(128, 32))

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        q, k, v = self.qkv(self.norms[0](x)).unflatten(2, (3, 4, 8)).permute(2, 0, 3, 1, 4)
        x = x + self.out(nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.mlp(self.norms[1](x))


class Transformer(nn.Module):
    """Two transformer blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.blocks, self.last = (
            nn.Linear(8, 32),
            nn.Sequential(Attention(), Attention()),
            nn.Linear(32, 10),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return class scores."""
        return self.last(self.blocks(self.first(x)).mean(1))


def convolutions(norms: bool) -> nn.Sequential:
    """Build two convolutions, with group normalisation or without."""
    norm: Callable[[int], nn.Module] = (lambda c: nn.GroupNorm(2, c)) if norms else (lambda _: nn.Identity())
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), norm(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1), norm(16),
        nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


def resnet() -> nn.Sequential:
    """Build a residual network of seven convolutions with group normalisation."""
    head = (nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.GroupNorm(4, 16), nn.ReLU())
    blocks = (Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2))
    return nn.Sequential(*head, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "linear + LayerNorm, 64 units": (lambda: Normalised(64), torch.randn(EXAMPLES, 20)),
    "linear + LayerNorm, 512 units": (lambda: Normalised(512), torch.randn(EXAMPLES, 20)),
    "embedding": (Words, torch.randint(0, 500, (EXAMPLES, 10))),
    "convolutions": (lambda: convolutions(False), torch.randn(EXAMPLES, 1, 16, 16)),
    "convolutions + GroupNorm": (lambda: convolutions(True), torch.randn(EXAMPLES, 1, 16, 16)),
    "ResNet with GroupNorm": (resnet, torch.randn(EXAMPLES, 3, 16, 16)),
    "LSTM": (Recurrent, torch.randn(EXAMPLES, 12, 8)),
    "transformer": (Transformer, torch.randn(EXAMPLES, 12, 8)),
}


def milliseconds(build: Callable[[], nn.Module], inputs: Tensor, batch_size: int, members: int, backend: str) -> float:
    """Return the processor time of a step, without what comes before the first."""
    labels = torch.randint(0, 10, (EXAMPLES,))

    def seconds(steps: int) -> float:
        start = time.process_time()
        train(
            build, (inputs, labels), members=members, loss="cross_entropy", steps=steps, batch_size=batch_size,
            evaluate_on={}, record_at=[], backend=backend,
        )  # fmt: skip
        return time.process_time() - start

    seconds(2)
    return 1000 * (min(seconds(31) for _ in range(3)) - min(seconds(1) for _ in range(5))) / 30


def main() -> None:
    """Print a table; the argument is the number of members."""
    torch.set_num_threads(1)
    members = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    print(f"{'network':<30} batch  numbers   vmap ms   loop ms  loop / vmap")
    for name, (build, inputs) in NETWORKS.items():
        for size in (8, 32, 128):
            batched, loop = (milliseconds(build, inputs, size, members, one) for one in ("vmap", "loop"))
            numbers = size * inputs[0].numel()
            print(f"{name:<30} {size:5d} {numbers:8,d} {batched:9.2f} {loop:9.2f} {loop / batched:12.2f}", flush=True)


if __name__ == "__main__":
    main()
