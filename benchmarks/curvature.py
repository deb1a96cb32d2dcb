"""How fast are the second derivatives? Each beside what one would do instead, in one process; the ratio counts."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import nn
from torch.func import functional_call

import bathymetry as bm
from bathymetry import LossSurface, probes

ROUNDS = 7


def seconds(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Time the median call, after one to warm up."""
    work()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return sorted(times)[rounds // 2]


def gradient_of(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> Callable[[], None]:
    """Take a gradient as a training loop does."""

    def work() -> None:
        model.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()

    return work


def products() -> dict[str, float]:
    """Products with the Hessian of 784-30-10 on 10,000 images, in gradients."""
    model = bm.mlp([784, 30, 10])
    x, y = torch.rand(10_000, 784), torch.randint(0, 10, (10_000,))
    one = seconds(gradient_of(model, x, y))
    fast, general = (LossSurface(m, "cross_entropy", (x, y)).product() for m in (model, nn.Sequential(model)))
    vector, ten = torch.randn(fast.dimension), torch.randn(10, fast.dimension)
    return {
        "one product, in gradients": seconds(lambda: fast(vector)) / one,
        "ten at once, per vector, in gradients": seconds(lambda: fast(ten)) / 10 / one,
        "one product of a network without formulas, in gradients": seconds(lambda: general(vector)) / one,
        "ten of them at once, per vector, in gradients": seconds(lambda: general(ten)) / 10 / one,
    }


def top_five() -> dict[str, float]:
    """Top five eigenpairs of a perceptron with 1.5 million parameters, against SciPy over products built anew."""
    torch.manual_seed(0)
    model = bm.mlp([784, 1000, 700, 10])
    x, y = torch.rand(512, 784), torch.randint(0, 10, (512,))
    parameters = list(model.parameters())
    sizes = [p.numel() for p in parameters]

    def rebuilt(vector: "object") -> "object":
        direction = torch.from_numpy(vector).float().ravel()  # type: ignore[arg-type]
        loss = nn.functional.cross_entropy(model(x), y)
        gradient = torch.autograd.grad(loss, parameters, create_graph=True)
        pieces = [piece.view_as(p) for piece, p in zip(direction.split(sizes), parameters, strict=True)]
        product = torch.autograd.grad(gradient, parameters, pieces)
        return torch.cat([piece.ravel() for piece in product]).double().numpy()

    size = sum(sizes)
    operator = LinearOperator((size, size), matvec=rebuilt, dtype="float64")
    # the loosest tolerance of the usual ones at which its residuals, too, are at most a thousandth of the largest
    start = time.perf_counter()
    values, _ = eigsh(operator, k=5, which="LA", tol=1e-3)
    theirs = time.perf_counter() - start
    surface = LossSurface(model, "cross_entropy", (x, y))
    start = time.perf_counter()
    found = probes.eigenvalues(surface, k=5)
    ours = time.perf_counter() - start
    difference = abs(found.values.flip(0) - torch.from_numpy(values))
    return {
        "top five eigenpairs of 1.5 M parameters, times as fast as eigsh": theirs / ours,
        "largest residual over the largest eigenvalue": float(found.residuals.max() / found.values[0]),
        "largest difference from eigsh, relative": float(difference.max() / found.values[0]),
        "products": float(found.num_matvecs),
    }  # fmt: skip


def hundred_hessians() -> dict[str, float]:
    """A hundred Hessians of 1-3-5-1 with eigenvalues, against one row after another."""
    x = torch.rand(1000, 1, dtype=torch.float64) * 20 - 10
    y = x.cos()
    ratios = {}
    for activation in ("relu", "tanh"):
        model = bm.mlp([1, 3, 5, 1], activation).double()
        surface = LossSurface(model, "mse", (x, y))
        theta = surface.parameters + 0.1 * torch.randn(100, surface.dimension, dtype=torch.float64)

        def loss(point: torch.Tensor, surface: LossSurface = surface, model: nn.Module = model) -> torch.Tensor:
            return nn.functional.mse_loss(functional_call(model, surface.selection.split(point), (x,)), y)

        def row_by_row(theta: torch.Tensor = theta, loss: Callable[[torch.Tensor], torch.Tensor] = loss) -> None:
            for point in theta[:10]:  # a tenth of the work, the same for each
                here = point.clone().requires_grad_()
                (gradient,) = torch.autograd.grad(loss(here), here, create_graph=True)
                rows = [torch.autograd.grad(entry, here, retain_graph=True)[0] for entry in gradient]
                torch.linalg.eigvalsh(torch.stack(rows))

        def together(surface: LossSurface = surface, theta: torch.Tensor = theta) -> None:
            torch.linalg.eigvalsh(surface.hessian(theta))

        ratio = 10 * seconds(row_by_row, 3) / seconds(together)
        ratios[f"100 Hessians of 1-3-5-1 ({activation}) with eigenvalues, times as fast as row by row"] = ratio
    return ratios


class Block(nn.Module):
    """A layer of a language model."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.first, self.second = heads, nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Attend, then think."""
        split = [part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in self.qkv(self.first(x)).chunk(3, 2)]
        x = x + self.out(nn.functional.scaled_dot_product_attention(*split, is_causal=True).transpose(1, 2).flatten(2))
        thought: torch.Tensor = x + self.down(nn.functional.gelu(self.up(self.second(x))))
        return thought


class LanguageModel(nn.Module):
    """A small GPT with tied embeddings."""

    def __init__(self, words: int, layers: int, width: int, heads: int, context: int) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(words, width), nn.Embedding(context, width)
        self.blocks, self.last = nn.Sequential(*[Block(width, heads) for _ in range(layers)]), nn.LayerNorm(width)
        nn.init.normal_(self.words.weight, std=0.02)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Give (example, word, position)."""
        hidden = self.words(tokens) + self.places.weight[: tokens.shape[1]]
        scores: torch.Tensor = self.last(self.blocks(hidden)) @ self.words.weight.T
        return scores.transpose(1, 2)


def language_model() -> dict[str, float]:
    """A GPT with 10.7 million parameters on 4 × 128 tokens, against plain gradients."""
    torch.manual_seed(0)
    model, tokens = LanguageModel(65, 6, 384, 6, 256), torch.randint(0, 65, (4, 129))
    x, y = tokens[:, :-1], tokens[:, 1:]
    one = seconds(gradient_of(model, x, y), 3)
    surface = LossSurface(model, "cross_entropy", (x, y))
    product, vector = surface.product(), torch.randn(surface.dimension)
    return {
        "gradient of a language model of 10.7 M parameters, in plain gradients": seconds(surface.gradient, 3) / one,
        "product of it, in plain gradients": seconds(lambda: product(vector), 3) / one,
    }


def main(target: Path) -> None:
    """Measure, print a table and keep it."""
    measured = {"threads": float(torch.get_num_threads()), **products(), **top_five(), **hundred_hessians()}
    measured |= language_model()
    for name, value in measured.items():
        print(f"{name:<75} {value:10.3g}")
    target.write_text(json.dumps(measured, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
