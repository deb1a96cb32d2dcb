"""Arguments of the wrong kind: whatever is handed to a public function, the answer is its result or one sentence."""

import pytest
import torch
from torch import nn

import bathymetry as bm
from bathymetry import LossSurface, probes
from bathymetry.core.errors import InputError
from bathymetry.models.mlp import parameter_count

X, Y = torch.randn(10, 4, generator=torch.Generator().manual_seed(0)), torch.arange(10) % 3
SURFACE = LossSurface(nn.Linear(4, 3), "cross_entropy", (X, Y))
THETA, PATH = SURFACE.parameters, torch.randn(4, 15, generator=torch.Generator().manual_seed(1))
MODEL = bm.mlp([4, 5, 3])

ODD = {
    "nothing": None, "a number": 3, "a text": "x", "a fraction": 1.5, "nan": float("nan"), "a list": [],
    "a mapping": {}, "a pair": (1, 2), "a network": nn.Linear(4, 3), "a surface": SURFACE, "a large number": 10**9,
    "a truth": True, "an object": object(), "meta": torch.zeros(15, device="meta"),
    "sparse": torch.zeros(15).to_sparse(), "a vector": torch.zeros(3), "complex": torch.zeros(15, dtype=torch.cfloat),
}  # fmt: skip

CALLS = {
    "trajectory": lambda odd: probes.trajectory(odd),
    "trajectory on": lambda odd: probes.trajectory(PATH, odd, walks=2),
    "trajectory, components": lambda odd: probes.trajectory(PATH, components=odd, walks=2),
    "trajectory, walks": lambda odd: probes.trajectory(PATH, walks=odd),
    "trajectory, seed": lambda odd: probes.trajectory(PATH, seed=odd, walks=2),
    "align a": lambda odd: bm.align(odd, MODEL),
    "align b": lambda odd: bm.align(MODEL, odd),
    "budget": lambda odd: bm.fit_budget(odd, 4, 3, 1),
    "budget, inputs": lambda odd: bm.fit_budget(100, odd, 3, 1),
    "budget, layers": lambda odd: bm.fit_budget(100, 4, 3, odd),
    "budget, shape": lambda odd: bm.fit_budget(100, 4, 3, 1, odd),
    "mlp": lambda odd: bm.mlp(odd),
    "mlp, activation": lambda odd: bm.mlp([4, 3], odd),
    "MLPConfig": lambda odd: bm.MLPConfig(odd)(),
    "parameter_count": lambda odd: parameter_count(odd),
    "sensitivity": lambda odd: probes.sensitivity(odd),
    "sensitivity, theta": lambda odd: probes.sensitivity(SURFACE, odd),
    "sensitivity, of": lambda odd: probes.sensitivity(SURFACE, of=odd),
    "sensitivity, wrt": lambda odd: probes.sensitivity(SURFACE, wrt=odd),
    "sensitivity, output": lambda odd: probes.sensitivity(SURFACE, of="logits", output=odd),
    "interpolate": lambda odd: probes.interpolate(odd, THETA, THETA),
    "interpolate a": lambda odd: probes.interpolate(SURFACE, odd, THETA, 2),
    "interpolate, alphas": lambda odd: probes.interpolate(SURFACE, THETA, THETA, odd),
    "interpolate, statistics": lambda odd: probes.interpolate(SURFACE, THETA, THETA, 2, statistics=odd),
    "interpolate, data": lambda odd: probes.interpolate(SURFACE, THETA, THETA, 2, data=odd),
    "interpolate, output": lambda odd: probes.interpolate(SURFACE, THETA, THETA, 2, output=odd),
    "flatten": SURFACE.flatten,
    "loss": SURFACE.loss,
    "accuracy": SURFACE.accuracy,
    "accuracy, output": lambda odd: SURFACE.accuracy(output=odd),
    "gradient": SURFACE.gradient,
    "example_gradient_norms": SURFACE.example_gradient_norms,
    "hvp": SURFACE.hvp,
    "hessian": SURFACE.hessian,
    "linear_operator": SURFACE.linear_operator,
    "model": lambda odd: LossSurface(odd, "mse", (X, X[:, :3])),
    "loss of a surface": lambda odd: LossSurface(nn.Linear(4, 3), odd, (X, Y)),
    "data": lambda odd: LossSurface(nn.Linear(4, 3), "cross_entropy", odd),
    "params": lambda odd: LossSurface(nn.Linear(4, 3), "cross_entropy", (X, Y), params=odd),
    "dtype": lambda odd: LossSurface(nn.Linear(4, 3), "cross_entropy", (X, Y), dtype=odd),
    "max_bytes": lambda odd: LossSurface(nn.Linear(4, 3), "cross_entropy", (X, Y), max_bytes=odd),
    "mode": lambda odd: LossSurface(nn.Linear(4, 3), "cross_entropy", (X, Y), mode=odd),
}


@pytest.mark.parametrize("name", CALLS)
def test_an_argument_of_the_wrong_kind_is_answered_in_one_sentence(name, unchecked):
    said = []
    for odd in ODD.values():
        try:
            CALLS[name](odd)
        except InputError as error:
            said.append(str(error))
    assert len(said) >= len(ODD) // 3
    assert all("\n" not in one and len(one) < 500 for one in said)


@pytest.mark.parametrize("loss", ["cross_entropy", nn.CrossEntropyLoss(label_smoothing=0.1)])
def test_a_class_beyond_the_outputs_is_named_with_the_classes_that_fit(loss):
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    with pytest.raises(InputError, match="data = classes from 0 to 7, where the network gives 3 outputs: expected"):
        LossSurface(model, loss, (torch.ones(2, 4), torch.tensor([0, 7])))
    batches = [(torch.ones(2, 4), torch.tensor([0, 1])), (torch.ones(2, 4), torch.tensor([-1, 2]))]
    with pytest.raises(InputError, match=r"classes from -1 to 2, where .* expected classes from 0 to 2"):
        LossSurface(model, loss, batches).gradient()
