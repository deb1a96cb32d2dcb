"""Data move to the dtype once, max_bytes holds from construction on, and a product takes few calls."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import bathymetry as bm
from bathymetry import GaussNewton, LossSurface
from bathymetry.core.errors import InputError


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Conversions(TorchDispatchMode):
    """Counts conversions of tensors with at least so many entries."""

    def __init__(self, entries):
        super().__init__()
        self.entries, self.count = entries, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._to_copy.default and args[0].numel() >= self.entries:
            self.count += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("activation", [nn.Tanh, nn.GELU])
def test_float32_data_are_converted_to_float64_once(activation):
    x, y = drawn(400, 30), drawn(400, 3, seed=1)
    model = nn.Sequential(nn.Linear(30, 4), activation(), nn.Linear(4, 3))
    batches = list(zip(x.split(150), y.split(150), strict=True))
    surface = LossSurface(model, "mse", batches, dtype=torch.float64)
    vector = torch.ones(surface.dimension, dtype=torch.float64)
    with Conversions(100 * 30) as first:
        surface.loss()
    with Conversions(100 * 30) as later:
        surface.loss(), surface.gradient(), surface @ vector, GaussNewton(surface) @ vector
        surface.example_gradient_norms()
    assert first.count in (0, 3)  # unless they were converted when the surface was made
    assert later.count == 0


def test_data_too_large_for_a_copy_are_converted_part_by_part():
    x, y = drawn(400, 30), drawn(400, 3, seed=1)
    model = nn.Sequential(nn.Linear(30, 4), nn.GELU(), nn.Linear(4, 3))
    small, large = (LossSurface(model, "mse", (x, y), dtype=torch.float64, max_bytes=size) for size in (50_000, 2**31))
    vector = torch.ones(small.dimension, dtype=torch.float64)
    with Conversions(400 * 30) as whole:
        torch.testing.assert_close(small.gradient(), large.gradient(), rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(small @ vector, large @ vector, rtol=1e-12, atol=1e-14)
    assert whole.count == 0


def test_data_that_are_written_into_are_refused_although_a_copy_is_kept():
    x, y = drawn(40, 3), drawn(40, 1, seed=1)
    surface = LossSurface(nn.Linear(3, 1), "mse", (x, y), dtype=torch.float64)
    surface.gradient()
    x.mul_(2)
    with pytest.raises(InputError, match="written into since the surface was made"):
        surface.gradient()


LARGE = """
import resource, torch
from torch import nn
from bathymetry import LossSurface

torch.set_num_threads(1)

class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first, self.second = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x):
        return x + self.second(self.first(x).relu()).relu()

first, last = nn.Conv2d(3, WIDTH, 3, padding=1), nn.Linear(WIDTH, 10)
model = nn.Sequential(first, Block(WIDTH), Block(WIDTH), nn.AdaptiveAvgPool2d(1), nn.Flatten(), last)
x, y = torch.rand(COUNT, 3, 32, 32), torch.randint(0, 10, (COUNT,))
warm = LossSurface(model, "cross_entropy", (x[:16], y[:16]), dtype=DTYPE)
warm @ warm.parameters
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
loss = LOSS
surface = LossSurface(model, loss, (x, y), dtype=DTYPE, max_bytes=2**25)
made = peak()
surface.loss(), surface.gradient(), surface @ surface.parameters
print(made - before, peak() - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("images", "width", "dtype"),
    [(1_000, 8, "torch.float32"), (1_000, 8, "torch.float64"), (50_000, 4, "torch.float32")],
)
@pytest.mark.parametrize("loss", ['"cross_entropy"', "lambda output, y: nn.functional.cross_entropy(output, y)"])
def test_max_bytes_holds_from_construction_on(images, width, dtype, loss):
    """The activations of 1,000 images would take 800 MB, those of 50,000 with half the channels 20 GB.

    With 32 MiB allowed, the peak is 20 to 200 MiB higher: the convolutions' workspaces depend on the processor.
    """
    program = LARGE
    for name, value in {"COUNT": images, "WIDTH": width, "DTYPE": dtype, "LOSS": loss}.items():
        program = program.replace(name, str(value))
    source = str(Path(bm.__file__).parents[1])
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONPATH": source}
    )
    made, measured = map(int, run.stdout.split())
    assert made <= 200 * 2**20
    assert measured <= 300 * 2**20


def calls_before(work, arithmetic):
    """Calls of the package's functions until one is called so; comprehensions do not count."""
    package, found, done = str(Path(bm.__file__).parent), [], []

    def profile(frame, event, _):
        code = frame.f_code
        if event == "call" and not done and code.co_filename.startswith(package) and not code.co_name.startswith("<"):
            (done if code.co_qualname == arithmetic else found).append((Path(code.co_filename).stem, code.co_qualname))

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    assert done
    return found


@pytest.mark.parametrize("activation", [nn.Tanh, nn.GELU])
def test_a_product_takes_few_calls_before_the_arithmetic(activation, unchecked):
    """At most 12 besides those that put the network into the context of a measurement."""
    model = nn.Sequential(nn.Linear(4, 5), activation(), nn.Linear(5, 3))
    surface = LossSurface(model, "mse", (drawn(8, 4), drawn(8, 3, seed=1)))
    vector = torch.ones(surface.dimension)
    surface.hvp(vector)
    kind = type(surface._derivatives).__name__
    calls = calls_before(lambda: surface.hvp(vector), f"{kind}.product")
    context = {"network", "networks", "contexts"}
    assert len([name for file, name in calls if file not in context]) <= 12
    assert len(calls) <= 20
