"""Invalid arguments of probes are refused in one sentence that names the field."""

import inspect

import pytest
import torch
from torch import nn

import bathymetry as bm
from bathymetry import LossSurface, probes
from bathymetry.core.errors import InputError
from bathymetry.linalg import eigenpairs, estimates

SIZE = 5


def surface():
    torch.manual_seed(0)
    return LossSurface(
        nn.Linear(SIZE - 1, 1), "mse", (torch.randn(6, SIZE - 1), torch.randn(6, 1)), dtype=torch.float64
    )


USUAL = {  # arguments without which a probe on this surface does not run, or is slow
    "eigenvalues": {"k": 1},
    "landscape": {"points": 3},
    "preconditioned_eigenvalue": {"preconditioner": torch.ones(SIZE)},
    "sensitivity": {"of": "loss"},
}
FUNCTIONS = {name: one for name in probes.__all__ if inspect.isfunction(one := getattr(probes, name))}
ON_A_SURFACE = {
    name: (probe, USUAL.get(name, {}))
    for name, probe in FUNCTIONS.items()
    if list(inspect.signature(probe).parameters)[:2] == ["surface", "theta"]
}
TENSORS = {
    "a word": "theta",
    "a network": nn.Linear(4, 1),
    "meta": torch.zeros(SIZE, device="meta"),
    "sparse": torch.ones(SIZE).to_sparse(),
    "complex": torch.ones(SIZE, dtype=torch.complex64),
    "booleans": torch.ones(SIZE, dtype=torch.bool),
    "another size": torch.ones(SIZE + 1),
    "three axes": torch.ones(1, 1, SIZE),
    "none at all": torch.ones(0, SIZE),
    "an object": object(),
}
COUNTS = {
    "a word": "3", "a fraction": 1.5, "none": 0, "below": -1, "a truth value": True, "nothing": None,
    "a tensor": torch.ones(2), "not a number": float("nan"),
}  # fmt: skip
AMOUNTS = {
    "a word": "0.1", "not a number": float("nan"), "infinite": float("inf"), "below": -1.0, "none": 0.0,
    "a list": [0.1], "a complex number": 1j, "more than a float": 10**400,
}  # fmt: skip
COUNTED = [
    ("eigenvalues", "k"), ("eigenvalues", "max_matvecs"), ("curvature_index", "probes"), ("curvature_index", "steps"),
    ("critical_point", "iterations"), ("spectral_density", "probes"), ("spectral_density", "steps"),
    ("trace", "num_matvecs"), ("diagonal", "num_matvecs"), ("sharpness", "steps"), ("landscape", "points"),
]  # fmt: skip
MEASURED = [
    ("eigenvalues", "tolerance"), ("eigenvalues", "seconds"), ("critical_point", "tolerance"),
    ("critical_point", "radius"), ("critical_point", "seconds"), ("sharpness", "epsilon"), ("landscape", "radius"),
]  # fmt: skip
SEEDED = ["eigenvalues", "curvature_index", "critical_point", "spectral_density", "trace", "diagonal", "sharpness"]


def refused(probe, field, *arguments, **named):
    with pytest.raises(InputError, match=f"^{field} = ") as error:
        probe(*arguments, **named)
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 600


@pytest.mark.parametrize("name", ON_A_SURFACE)
@pytest.mark.parametrize("instead", [None, nn.Linear(4, 1), "surface", 3, LossSurface, torch.ones(3)])
def test_an_argument_other_than_a_surface_is_refused(name, instead, unchecked):
    probe, usual = ON_A_SURFACE[name]
    refused(probe, "surface", instead, **usual)


@pytest.mark.parametrize("name", ON_A_SURFACE)
@pytest.mark.parametrize("kind", TENSORS)
def test_a_point_of_another_kind_or_shape_is_refused(name, kind, unchecked):
    probe, usual = ON_A_SURFACE[name]
    refused(probe, "theta", surface(), TENSORS[kind], **usual)


@pytest.mark.parametrize(("name", "argument"), COUNTED)
@pytest.mark.parametrize("kind", COUNTS)
def test_a_count_that_is_not_a_positive_whole_number_is_refused(name, argument, kind, unchecked):
    probe, usual = ON_A_SURFACE[name]
    refused(probe, argument, surface(), **{**usual, argument: COUNTS[kind]})


@pytest.mark.parametrize(("name", "argument"), MEASURED)
@pytest.mark.parametrize("kind", AMOUNTS)
def test_an_amount_that_is_not_a_positive_number_is_refused(name, argument, kind, unchecked):
    probe, usual = ON_A_SURFACE[name]
    refused(probe, argument, surface(), **{**usual, argument: AMOUNTS[kind]})


@pytest.mark.parametrize("name", SEEDED)
@pytest.mark.parametrize("seed", ["0", 1.5, None, -1, 2**70])
def test_a_seed_that_is_not_a_whole_number_is_refused(name, seed, unchecked):
    probe, usual = ON_A_SURFACE[name]
    refused(probe, "seed", surface(), **usual, seed=seed)


@pytest.mark.parametrize(
    ("name", "argument", "instead"),
    [
        ("eigenvalues", "which", 3),
        ("eigenvalues", "which", ["largest"]),
        ("eigenvalues", "k", 10**12),
        ("eigenvalues", "certify", "no"),
        ("eigenvalues", "start", "first"),
        ("eigenvalues", "start", torch.zeros(SIZE, device="meta")),
        ("eigenvalues", "start", torch.ones(SIZE).to_sparse()),
        ("eigenvalues", "start", torch.ones(SIZE, dtype=torch.complex64)),
        ("eigenvalues", "start", torch.ones(SIZE, dtype=torch.int64)),
        ("eigenvalues", "preconditioner", "adam"),
        ("preconditioned_eigenvalue", "preconditioner", None),
        ("preconditioned_eigenvalue", "preconditioner", torch.ones(SIZE).to_sparse()),
        ("preconditioned_eigenvalue", "preconditioner", torch.ones(SIZE, device="meta")),
        ("preconditioned_eigenvalue", "preconditioner", torch.ones(2, SIZE)),
        ("critical_point", "restarts", -1),
        ("critical_point", "restarts", 0.5),
        ("critical_point", "start_norm", "small"),
        ("critical_point", "start_norm", torch.ones(3)),
        ("sharpness", "kind", None),
        ("sharpness", "scale", 3),
        ("landscape", "directions", None),
        ("landscape", "directions", "random"),
        ("landscape", "directions", torch.ones(SIZE).to_sparse()),
        ("landscape", "directions", torch.zeros(SIZE)),
        ("landscape", "dimensions", "2"),
        ("landscape", "dimensions", torch.ones(2)),
        ("landscape", "dimensions", True),
        ("landscape", "points", 10**4 + 1),
        ("landscape", "points", 10**9),
        ("landscape", "points", 10**30),
        ("sharpness", "steps", 10**9),
        ("sharpness", "steps", 10**30),
    ],
)  # fmt: skip
def test_other_invalid_arguments_are_refused(name, argument, instead, unchecked):
    probe, usual = ON_A_SURFACE[name]
    refused(probe, argument, surface(), **{**usual, argument: instead})


@pytest.mark.parametrize(("argument", "value"), [("probes", 10**12), ("num_matvecs", 10**12), ("steps", 10**12)])
def test_more_samples_than_dimensions_are_exact(argument, value):
    """As many random vectors as parameters are exact, so that more of them are no more work."""
    if argument == "num_matvecs":
        assert probes.trace(surface(), num_matvecs=value).standard_error == 0
        assert bool((probes.diagonal(surface(), num_matvecs=value).standard_error == 0).all())
    else:
        density = probes.spectral_density(surface(), **{"probes": 5, "steps": 5, argument: value})
        assert density.exact


@pytest.mark.parametrize(
    "interval",
    [torch.zeros(2, device="meta"), torch.ones(2, 2), (0, 10**400), (1.0,), 3, "ab", [None, 1], (0, 1j), (2, 1)],
)
def test_an_invalid_interval_is_refused(interval, unchecked):
    refused(probes.linear_regions, "interval", bm.mlp([1, 3, 1]), interval=interval)


@pytest.mark.parametrize("instead", [None, "network", 3, torch.ones(3), {"0.weight": "w"}, {}, nn.Linear(1, 1)])
def test_networks_other_than_perceptrons_are_refused(instead, unchecked):
    refused(probes.linear_regions, "networks", instead)
    refused(probes.dead_units, "networks", instead, torch.ones(2, 1))


@pytest.mark.parametrize(
    "inputs", [None, "x", torch.ones(2, 1).to_sparse(), torch.ones(2, 1, device="meta"), torch.ones(2, 1) * 1j]
)
def test_invalid_inputs_are_refused(inputs, unchecked):
    refused(probes.dead_units, "inputs", bm.mlp([1, 3, 1]), inputs)


@pytest.mark.parametrize("ask", [lambda o: eigenpairs.eigenpairs(o, 1), estimates.trace, estimates.diagonal])
@pytest.mark.parametrize("instead", [None, torch.eye(3), "matrix"])
def test_an_argument_other_than_an_operator_is_refused(ask, instead, unchecked):
    refused(ask, "operator", instead)
