"""Curvature beside other libraries: products, batches of unequal sizes, eigenvalues; docs/comparison.md has the table.

    PYTHONPATH=build/oracles python benchmarks/libraries.py FILE.json

`make test-slow` installs the libraries of requirements-oracles.txt into build/oracles. PyHessian is measured if it is
there too (`pip install --no-deps --target build/oracles pyhessian==0.1`). All in one process, in turns; ratios count.
"""

import importlib.util
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import curvlinops
import hessian_eigenthings
import torch
from hessian_eigenthings.algorithms.lanczos import lanczos
from torch import Tensor, nn

import bathymetry as bm

LOSS = nn.CrossEntropyLoss()
PYHESSIAN = importlib.util.find_spec("pyhessian") is not None
ROUNDS = 15
Batches = list[tuple[Tensor, Tensor]]


def products(model: nn.Module, batches: Batches) -> dict[str, Callable[[Tensor], Tensor]]:
    """Prepare each library's product of the Hessian with one vector."""
    parameters = list(model.parameters())
    hessian = curvlinops.HessianLinearOperator(model, LOSS, parameters, batches, check_deterministic=False)
    theirs = hessian_eigenthings.HessianOperator(model, batches, lambda net, batch: LOSS(net(batch[0]), batch[1]))
    found = {
        "Bathymetry": bm.LossSurface(model, LOSS, batches).product(),
        "Bathymetry, without formulas for MLPs": bm.LossSurface(nn.Sequential(model), LOSS, batches).product(),
        "curvlinops 3.0.1": lambda v: hessian @ v,
        "hessian-eigenthings 1.0.0a5": theirs.matvec,
    }
    if PYHESSIAN:
        from pyhessian import hessian as pyhessian

        several = pyhessian(model, LOSS, dataloader=batches, cuda=False)
        if len(batches) == 1:  # as it does for one batch, whose gradient it takes once
            one = pyhessian(model, LOSS, data=batches[0], cuda=False)

        def product(v: Tensor) -> Tensor:
            pieces = list(unflat(model, v).values())
            if len(batches) == 1:
                made = torch.autograd.grad(one.gradsH, one.params, pieces, retain_graph=True)
            else:
                made = several.dataloader_hv_product(pieces)[1]
            return torch.cat([one.reshape(-1) for one in made])

        found["PyHessian 0.1"] = product
    return found


def seconds() -> dict[str, float]:
    """Time one product of 784-30-10 on 10,000 images, in gradients; the median of rounds in turns."""
    torch.manual_seed(0)
    model, x, y = bm.mlp([784, 30, 10]), torch.rand(10_000, 784), torch.randint(0, 10, (10_000,))

    def gradient(_: Tensor) -> None:
        torch.autograd.grad(LOSS(model(x), y), list(model.parameters()))

    work = {"one gradient": gradient, **products(model, [(x, y)])}
    vector = torch.randn(sum(p.numel() for p in model.parameters()))
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(ROUNDS):
        for name, one in work.items():
            start = time.perf_counter()
            one(vector)
            times[name].append(time.perf_counter() - start)
    medians = {name: sorted(some)[ROUNDS // 2] for name, some in times.items()}
    return {name: some / medians["one gradient"] for name, some in medians.items() if name != "one gradient"}


def unequal() -> dict[str, float]:
    """Find the relative error of a product over batches of 32, 32 and 5 examples, against all 69 at once."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3)).double()
    x, y = torch.randn(69, 8, dtype=torch.float64), torch.randint(0, 3, (69,))
    batches = list(zip(x.split(32), y.split(32), strict=True))
    vector = torch.randn(sum(p.numel() for p in model.parameters()), dtype=torch.float64)
    truth = torch.func.hessian(lambda theta: LOSS(torch.func.functional_call(model, unflat(model, theta), (x,)), y))(
        flat(model)
    )
    errors = {name: one(vector) - truth @ vector for name, one in products(model, batches).items()}
    return {name: float(error.norm() / (truth @ vector).norm()) for name, error in errors.items()}


def top_five() -> dict[str, float]:
    """Find the largest relative error among the five largest eigenvalues of a Hessian that can be diagonalised."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 20), nn.Tanh(), nn.Linear(20, 10)).double()
    x, y = torch.randn(300, 20, dtype=torch.float64), torch.randint(0, 10, (300,))
    whole = [(x, y)]
    surface = bm.LossSurface(model, LOSS, whole)
    truth = torch.linalg.eigvalsh(surface.hessian()).flip(0)[:5]
    theirs = hessian_eigenthings.HessianOperator(model, whole, lambda net, batch: LOSS(net(batch[0]), batch[1]))
    found = {
        "Bathymetry": bm.probes.eigenvalues(surface, k=5).values,
        # by default it makes 2k steps, and its result says that they have not converged
        "hessian-eigenthings 1.0.0a5": lanczos(theirs, k=5, which="LA", seed=0).eigenvalues,
        "hessian-eigenthings 1.0.0a5, 50 steps": lanczos(theirs, k=5, max_iter=50, which="LA", seed=0).eigenvalues,
    }
    if PYHESSIAN:
        from pyhessian import hessian as pyhessian

        torch.set_default_dtype(torch.float64)  # its vectors have the default dtype
        found["PyHessian 0.1"] = torch.tensor(pyhessian(model, LOSS, data=(x, y), cuda=False).eigenvalues(top_n=5)[0])
        torch.set_default_dtype(torch.float32)
    sizes = {name: values.double().sort(descending=True).values for name, values in found.items()}
    return {name: float(((values - truth) / truth).abs().max()) for name, values in sizes.items()}


def flat(model: nn.Module) -> Tensor:
    """Join a model's parameters to a vector."""
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


def unflat(model: nn.Module, theta: Tensor) -> dict[str, Tensor]:
    """Cut a vector into a model's parameters."""
    named = dict(model.named_parameters())
    pieces = theta.split([p.numel() for p in named.values()])
    return {name: piece.view_as(p) for (name, p), piece in zip(named.items(), pieces, strict=True)}


if __name__ == "__main__":
    results = {
        "threads": torch.get_num_threads(),
        "one product, in gradients": seconds(),
        "error with unequal batches": unequal(),
        "largest error of the top five eigenvalues": top_five(),
    }
    print(json.dumps(results, indent=1))
    Path(sys.argv[1]).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
