"""How much a batch counts: a loss over uneven batches is that of all data at once, or refused with a way that works."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from bathymetry import probes
from bathymetry.core.errors import InputError
from bathymetry.surface import LossSurface

F64 = torch.float64
F = nn.functional
WORDS, CLASSES, LENGTH = 7, 5, 6


def generator(seed):
    return torch.Generator().manual_seed(seed)


def sentences(rows, seed=0):
    """Words, and labels of which the later ones of the first rows are ignored: uneven in every cut."""
    x = torch.randint(0, WORDS, (rows, LENGTH), generator=generator(seed))
    y = torch.randint(0, CLASSES, (rows, LENGTH), generator=generator(seed + 1))
    for row in range(rows):
        y[row, max(1, LENGTH - rows + row) :] = -100
    return x, y


class Flat(nn.Module):
    """A language model that returns (example · position, class)."""

    def __init__(self):
        super().__init__()
        self.words, self.last = nn.Embedding(WORDS, 4), nn.Linear(4, CLASSES)

    def forward(self, x):
        return self.last(self.words(x)).flatten(0, 1)


class Packed(nn.Module):
    """An LSTM over packed sequences, whose output has a row for each word of all sequences, time first."""

    def __init__(self):
        super().__init__()
        self.words, self.body, self.last = (
            nn.Embedding(WORDS, 4),
            nn.LSTM(4, 3, batch_first=True),
            nn.Linear(3, CLASSES),
        )

    def forward(self, x, lengths):
        packed = pack_padded_sequence(self.words(x), lengths.cpu(), batch_first=True, enforce_sorted=False)
        return self.last(self.body(packed)[0].data)


class WithLoss(nn.Module):
    """A network that computes its own loss from a mapping, as those of Hugging Face do."""

    def __init__(self):
        super().__init__()
        self.words, self.last = nn.Embedding(WORDS, 4), nn.Linear(4, CLASSES)

    def forward(self, words, labels):
        logits = self.last(self.words(words))
        return SimpleNamespace(logits=logits, loss=F.cross_entropy(logits.flatten(0, 1), labels.flatten()))


def flat_loss(output, y):
    return F.cross_entropy(output, y.flatten())


def packed_labels(y, lengths):
    return pack_padded_sequence(y, lengths.cpu(), batch_first=True, enforce_sorted=False).data


def cut(tree, sizes=(3, 2, 4)):
    ends = torch.tensor(sizes).cumsum(0).tolist()
    if isinstance(tree, dict):
        parts = {name: cut(one, sizes) for name, one in tree.items()}
        return [{name: one[i] for name, one in parts.items()} for i in range(len(sizes))]
    if isinstance(tree, tuple):
        return list(zip(*(cut(one, sizes) for one in tree), strict=True))
    return [tree[end - size : end] for end, size in zip(ends, sizes, strict=True)]


X, Y = sentences(9)
LENGTHS = (Y >= 0).sum(1)
MAPPING = {"words": X, "labels": Y}


def counted(value, n):
    return value * n, n


# name: network, data, a mean over what counts (a wrong weight for its batches), the same with its count, the whole loss
UNEVEN = {
    "flattened language model": (
        Flat,
        (X, Y),
        flat_loss,
        lambda output, y: counted(flat_loss(output, y), (y >= 0).sum()),
        lambda model: flat_loss(model(X), Y),
    ),
    "packed LSTM": (
        Packed,
        ((X, LENGTHS), Y, LENGTHS),
        lambda output, y, lengths: F.cross_entropy(output, packed_labels(y, lengths)),
        lambda output, y, lengths: (F.cross_entropy(output, packed_labels(y, lengths), reduction="sum"), lengths.sum()),
        lambda model: F.cross_entropy(model(X, LENGTHS), packed_labels(Y, LENGTHS)),
    ),
    "a network's own loss": (
        WithLoss,
        MAPPING,
        lambda output: output.loss,
        lambda model, batch: counted(model(**batch).loss, int((batch["labels"] >= 0).sum())),
        lambda model: model(**MAPPING).loss,
    ),
    "mean over a mask": (
        Flat,
        (X, Y),
        lambda output, y: -output.log_softmax(1)[y.flatten() >= 0].gather(1, y[y >= 0][:, None]).mean(),
        lambda output, y: (
            -output.log_softmax(1)[y.flatten() >= 0].gather(1, y[y >= 0][:, None]).sum(),
            (y >= 0).sum(),
        ),
        lambda model: flat_loss(model(X), Y),
    ),
}


def wholes(model, loss):
    """Loss, gradient and Hessian of all data at once, by autograd."""
    parameters = list(model.parameters())
    value = loss(model)
    gradient = torch.cat([g.reshape(-1) for g in torch.autograd.grad(value, parameters, create_graph=True)])
    rows = [torch.autograd.grad(one, parameters, retain_graph=True, materialize_grads=True) for one in gradient]
    return value.detach(), gradient.detach(), torch.stack([torch.cat([g.reshape(-1) for g in row]) for row in rows])


@pytest.mark.parametrize("name", UNEVEN)
def test_a_mean_over_what_counts_is_refused_over_uneven_batches_and_right_over_one(name):
    torch.manual_seed(0)
    build, data, mean, _, whole = UNEVEN[name]
    model = build().double()
    with pytest.raises(InputError, match=r"no mean over the examples of a batch.*\(sum, count\).*as one batch"):
        LossSurface(model, mean, cut(data))
    surface = LossSurface(model, mean, [data])
    value, gradient, _ = wholes(model, whole)
    torch.testing.assert_close(surface.loss(), value)
    torch.testing.assert_close(surface.gradient(), gradient)


@pytest.mark.parametrize("sizes", [(3, 2, 4), (1, 8), (9,), (1,) * 9])
@pytest.mark.parametrize("name", UNEVEN)
def test_a_loss_of_sum_and_count_is_that_of_all_data_over_any_batches(name, sizes):
    torch.manual_seed(0)
    build, data, _, pair, whole = UNEVEN[name]
    model = build().double()
    surface = LossSurface(model, pair, cut(data, sizes), max_bytes=200_000)
    value, gradient, hessian = wholes(model, whole)
    torch.testing.assert_close(surface.loss(), value)
    torch.testing.assert_close(surface.gradient(), gradient)
    torch.testing.assert_close(surface.hessian(), hessian)


def test_ignored_labels_that_the_first_batch_lacks_are_seen_too():
    torch.manual_seed(0)
    x, y = torch.cat([X, X]), torch.cat([torch.zeros_like(Y), Y])
    with pytest.raises(InputError, match="no mean over the examples"):
        LossSurface(Flat(), flat_loss, [(x[:9], y[:9]), (x[9:], y[9:])])


def test_batches_that_are_even_inside_and_differ_from_each_other_are_seen_too():
    torch.manual_seed(0)
    x, y = torch.cat([X, X]), torch.zeros(18, LENGTH, dtype=torch.long)
    y[9:, 2:] = -100
    with pytest.raises(InputError, match="no mean over the examples"):
        LossSurface(Flat(), flat_loss, [(x[:9], y[:9]), (x[9:], y[9:])])
    with pytest.raises(InputError, match=r"labels of shapes \(9, 6\) and \(9, 2\).*\(sum, count\)"):
        LossSurface(Flat(), flat_loss, [(x[:9], y[:9]), (x[9:, :2], y[9:, :2])])


def test_batches_padded_to_lengths_of_their_own_are_right_with_a_count():
    torch.manual_seed(0)
    model, pair = Flat().double(), UNEVEN["flattened language model"][3]
    data = [(X[:9], Y[:9]), (X[:4, :2].clone(), Y[:4, :2].clone()), (X[4:, 1:4], Y[4:, 1:4].clamp_min(0))]
    parts = [F.cross_entropy(model(x), y.flatten(), reduction="sum") for x, y in data]
    truth = sum(parts) / sum(int((y >= 0).sum()) for _, y in data)
    torch.testing.assert_close(LossSurface(model, pair, data).loss(), truth.detach())


def test_gradients_of_examples_add_up_under_a_loss_of_sum_and_count():
    torch.manual_seed(0)
    build, data, _, pair, _ = UNEVEN["flattened language model"]
    model = build().double()
    surface = LossSurface(model, pair, cut(data))
    total = int((Y >= 0).sum())
    by_hand = []
    for x, y in zip(X, Y, strict=True):
        loss = F.cross_entropy(model(x[None]), y, reduction="sum") * len(X) / total
        gradient = torch.autograd.grad(loss, list(model.parameters()))
        by_hand.append(torch.cat([g.reshape(-1) for g in gradient]))
    norms = torch.stack(by_hand).norm(dim=1)
    torch.testing.assert_close(surface.example_gradient_norms(), norms)
    torch.testing.assert_close(surface.gradient(), torch.stack(by_hand).mean(0))
    spread = torch.stack(by_hand).var(0).sum()
    mean_square = torch.stack(by_hand).mean(0).square().sum()
    truth = spread / (mean_square - spread / len(X)) if mean_square > spread / len(X) else torch.tensor(torch.inf)
    torch.testing.assert_close(probes.noise_scale(surface).value, truth.to(F64))


def test_a_sum_is_refused_over_several_batches_and_taken_over_one():
    torch.manual_seed(0)
    model, x, y = nn.Linear(3, 2), torch.randn(9, 3), torch.randn(9, 2)

    def summed(output, target):
        return (output - target).square().sum()

    with pytest.raises(InputError, match=r"it is a sum over its batch.*\(sum, 1\)"):
        LossSurface(model, summed, cut((x, y)))
    expected = summed(model(x), y).item()
    assert LossSurface(model, summed, (x, y)).loss().item() == pytest.approx(expected, rel=1e-6)
    every = LossSurface(model, lambda o, t: (summed(o, t), 1), [(x, y)])
    assert every.loss().item() == pytest.approx(expected, rel=1e-6)


def test_a_contrastive_loss_over_several_batches_is_taken_with_its_count():
    torch.manual_seed(0)
    model, data = nn.Linear(3, 4).double(), cut((torch.randn(9, 3, dtype=F64), torch.randn(9, 4, dtype=F64)))

    def contrast(output, other):
        return F.cross_entropy(F.normalize(output) @ F.normalize(other).T, torch.arange(len(output)))

    with pytest.raises(InputError, match="no mean over the examples"):
        LossSurface(model, contrast, data)
    surface = LossSurface(model, lambda o, t: (len(o) * contrast(o, t), len(o)), data, max_bytes=100)
    truth = sum(len(x) * contrast(model(x), y) for x, y in data) / 9
    torch.testing.assert_close(surface.loss(), truth.detach())


@pytest.mark.parametrize("several", [False, True])
def test_targets_that_a_loss_broadcasts_are_refused(several):
    data = torch.randn(9, 4), torch.randn(9)
    with pytest.raises(InputError, match=r"\(n,\) for outputs of shape \(n, 1\).*broadcasts.*expected.*\(n, 1\)"):
        LossSurface(nn.Linear(4, 1), lambda o, y: ((o - y) ** 2).mean(), cut(data) if several else data)


FUNCTIONS = {
    "cross_entropy": (F.cross_entropy, nn.CrossEntropyLoss()),
    "cross_entropy with settings": (
        partial(F.cross_entropy, label_smoothing=0.1),
        nn.CrossEntropyLoss(label_smoothing=0.1),
    ),
    "weighted cross_entropy": (
        partial(partial(F.cross_entropy, weight=torch.arange(1.0, 6.0).double()), ignore_index=2),
        nn.CrossEntropyLoss(weight=torch.arange(1.0, 6.0).double(), ignore_index=2),
    ),
    "summed cross_entropy": (partial(F.cross_entropy, reduction="sum"), nn.CrossEntropyLoss(reduction="sum")),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_of_pytorch_is_the_module_it_stands_for(name):
    torch.manual_seed(0)
    function, module = FUNCTIONS[name]
    model, x = nn.Linear(3, CLASSES).double(), torch.randn(9, 3, dtype=F64)
    y = torch.tensor([0, 1, 2, 2, 2, 3, 4, 1, 2])
    surface = LossSurface(model, function, cut((x, y)))
    torch.testing.assert_close(surface.loss(), module(model(x), y).detach().double())
    torch.testing.assert_close(surface.loss(), LossSurface(model, module, cut((x, y))).loss())


class Focal(nn.CrossEntropyLoss):
    """A mean over examples, whatever their weights."""

    def forward(self, output, y):
        entropy = F.cross_entropy(output, y, weight=self.weight, reduction="none")
        return ((1 - torch.exp(-entropy)) ** 2 * entropy).mean()


class Halved(nn.MSELoss):
    """A mean over examples of a sum over outputs."""

    def forward(self, output, y):
        return (output - y).square().sum(1).mean() / 2


@pytest.mark.parametrize(
    ("loss", "kind"), [(Focal(weight=torch.tensor([1.0, 1.0, 20.0]).double()), "classes"), (Halved(), "values")]
)
def test_a_subclass_of_a_known_loss_is_weighted_by_what_it_does(loss, kind):
    torch.manual_seed(0)
    model, x = nn.Linear(3, 3).double(), torch.randn(16, 3, dtype=F64)
    y = torch.tensor([0] * 8 + [2] * 8) if kind == "classes" else torch.randn(16, 3, dtype=F64)
    surface = LossSurface(model, loss, cut((x, y), (8, 5, 3)))
    torch.testing.assert_close(surface.loss(), loss(model(x), y).detach())


def test_labels_above_the_classes_that_the_loss_ignores_have_their_right_values():
    torch.manual_seed(0)
    model, x = nn.Conv2d(2, 3, 1).double(), torch.randn(4, 2, 5, 5, dtype=F64)
    y = torch.randint(0, 3, (4, 5, 5))
    y[:2, 0], y[2:, :3] = 255, 255
    loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 5.0]).double(), ignore_index=255)
    surface = LossSurface(model, loss, cut((x, y), (1, 3)))
    torch.testing.assert_close(surface.loss(), loss(model(x), y).detach())
    known = y != 255
    right = (model(x).argmax(1)[known] == y[known]).double().mean().item()
    assert surface.accuracy().item() == pytest.approx(right)


def penalised(model, batch):
    x, y = batch
    return (model(x) - y).square().mean() + 0.5 * sum(p.square().sum() for p in model.parameters())


def test_a_loss_of_model_and_batch_may_use_the_parameters():
    torch.manual_seed(0)
    model, x, y = nn.Linear(3, 1).double(), torch.randn(9, 3, dtype=F64), torch.randn(9, 1, dtype=F64)
    surface = LossSurface(model, penalised, cut((x, y)))
    inputs = torch.cat([x, torch.ones(9, 1, dtype=F64)], 1)
    hessian = 2 * inputs.T @ inputs / 9 + torch.eye(4)
    torch.testing.assert_close(surface.hessian(), hessian)
    theta = torch.randn(2, 4, dtype=F64)
    residual = inputs @ theta.T - y
    torch.testing.assert_close(surface.loss(theta), residual.square().mean(0) + 0.5 * theta.square().sum(1))
    torch.testing.assert_close(surface.gradient(theta), 2 * (inputs.T @ residual).T / 9 + theta)
    assert all(p.grad is None for p in model.parameters())


def test_a_loss_that_reaches_around_the_surface_is_refused_with_the_way_that_works():
    torch.manual_seed(0)
    model, x, y = nn.Linear(3, 1), torch.randn(9, 3), torch.randn(9, 1)

    def penalty(output, target):
        return (output - target).square().mean() + 0.5 * sum(p.square().sum() for p in model.parameters())

    for loss in (penalty, lambda output, target: (model(x) - y).square().mean()):
        with pytest.raises(
            InputError, match=r"uses (bias|weight), (bias|weight) of the network itself.*\(model, batch\)"
        ):
            LossSurface(model, loss, (x, y))
    frozen = LossSurface(model, lambda o, t: (o - t).square().mean() + model.weight.detach().norm(), (x, y))
    assert bool(frozen.gradient().isfinite().all())  # a constant


class Prototypes(nn.Module):
    def __init__(self):
        super().__init__()
        self.centres = nn.Parameter(torch.randn(3, 4, dtype=F64))

    def forward(self, output, y):
        return (output - self.centres[y]).square().sum(1).mean()


def test_trainable_parameters_outside_the_network_are_refused_unless_they_are_fixed():
    torch.manual_seed(0)
    model, loss = nn.Linear(3, 4).double(), Prototypes()
    x, y = torch.randn(9, 3, dtype=F64), torch.randint(0, 3, (9,))
    with pytest.raises(InputError, match=r"trainable parameters of its own.*requires_grad_"):
        LossSurface(model, loss, (x, y))
    fixed = LossSurface(model, loss.requires_grad_(False), (x, y))
    torch.testing.assert_close(fixed.loss(), loss(model(x), y).detach())

    class Hidden(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers, self.last = [nn.Linear(3, 4).double()], nn.Linear(4, 3).double()

        def forward(self, x):
            return self.last(self.layers[0](x).tanh())

    with pytest.raises(InputError, match=r"does not list.*nn\.ModuleList"):
        LossSurface(Hidden(), "cross_entropy", (x, y))


@pytest.mark.parametrize(
    ("loss", "sentence"),
    [
        (lambda o, y: ((o - y).square().sum(), o.square().sum()), "count depends on the parameters"),
        (lambda o, y: ((o - y).square().sum(), (o.detach() > 0).sum()), "count depends on the parameters"),
        (lambda o, y: ((o - y).square().sum(), "3"), "expected .sum, count."),
        (lambda o, y: ((o - y).square().sum(), 0), "add up to 0"),
        (lambda o, y: ((o - y).square().sum(), 1, 2), r"or \(sum, count\)"),
    ],
)
def test_counts_that_are_none_are_refused(loss, sentence):
    torch.manual_seed(0)
    with pytest.raises(InputError, match=sentence):
        LossSurface(nn.Linear(3, 4), loss, (torch.randn(30, 3), torch.randn(30, 4)))


def test_a_loss_of_model_and_batch_has_the_sensitivity_of_its_output():
    torch.manual_seed(0)
    model, x, y = nn.Linear(3, 2).double(), torch.randn(9, 3, dtype=F64), torch.randn(9, 2, dtype=F64)
    plain = LossSurface(model, lambda o, t: (o - t).square().mean(), cut((x, y)))
    whole = LossSurface(model, lambda model, batch: (model(batch[0]) - batch[1]).square().mean(), cut((x, y)))
    pair = LossSurface(model, lambda o, t: ((o - t).square().sum(), t.numel()), cut((x, y)))
    for surface in (whole, pair):
        torch.testing.assert_close(probes.sensitivity(surface).per_example, probes.sensitivity(plain).per_example)


def batches_of_eight(*tensors):
    return list(zip(*(one.split(8) for one in tensors), strict=True))


def masked(output, y, mask):
    return ((output - y).square() * mask).sum() / mask.sum()


def padded(output, y):
    return F.cross_entropy(output, y, ignore_index=0)


def not_missing(output, y):
    known = ~y.isnan()
    return (output[known] - y[known]).square().mean()


def weighted(output, y):
    return F.cross_entropy(output, y, weight=torch.arange(1.0, 6.0).to(output))


def middle(*wholes):
    """Values for five batches of eight: one kind in the first and the last, another in those between."""
    outer, inner = wholes
    return torch.cat([outer[:8], inner[8:32], outer[32:]])


X5, Y5 = torch.randn(40, 3, generator=generator(3)), torch.randn(40, CLASSES, generator=generator(4))
SOME = (torch.rand(40, CLASSES, generator=generator(5)) < 0.3).float()
LABELS = torch.randint(0, CLASSES, (40,), generator=generator(6))

# name: loss, targets that differ from what counts in the first and the last batch only in the batches between
HIDDEN = {
    "mask": (masked, (Y5, middle(torch.ones(40, CLASSES), SOME))),
    "padding": (padded, (middle(LABELS.clamp_min(1), LABELS),)),
    "class weights": (weighted, (middle(torch.zeros(40), LABELS.sort().values).long(),)),
    "missing values": (not_missing, (middle(Y5, Y5.masked_fill(SOME > 0, torch.nan)),)),
    "mask of a batch": (
        lambda model, batch: masked(model(batch[0]), *batch[1:]),
        (Y5, middle(torch.ones(40, CLASSES), SOME)),
    ),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_weights_that_differ_only_in_some_batch_are_seen_wherever_it_stands(name):
    torch.manual_seed(0)
    loss, targets = HIDDEN[name]
    model = nn.Linear(3, CLASSES)
    with pytest.raises(InputError, match=r"no mean over the examples of a batch.*\(sum, count\)"):
        LossSurface(model, loss, batches_of_eight(X5, *targets))


class Own(nn.CrossEntropyLoss):
    """A subclass, whose weights are not known."""


@pytest.mark.parametrize("loss", [lambda output, y: F.cross_entropy(output, y), Own()])
def test_one_batch_has_the_same_loss_whatever_the_memory(loss):
    torch.manual_seed(0)
    model, x = nn.Linear(3, CLASSES).double(), torch.randn(400, 3, dtype=F64)
    y = torch.ones(400, dtype=torch.long)
    y[8:][torch.rand(392, generator=generator(7)) < torch.linspace(0, 1, 392)] = -100
    y[300:] = -100
    truth = F.cross_entropy(model(x), y).detach()
    for memory in (2**31, 30_000, 5_000):
        torch.testing.assert_close(LossSurface(model, loss, (x, y), max_bytes=memory).loss(), truth)


def test_counts_of_zero_in_the_first_examples_are_no_randomness():
    torch.manual_seed(0)
    model, x, y = nn.Linear(3, 4).double(), torch.randn(40, 3, dtype=F64), torch.randn(40, 4, dtype=F64)
    mask = torch.ones(40, 1, dtype=F64)
    mask[:17] = 0

    def pair(output, target, counts):
        return ((output - target).square().mean(1, keepdim=True) * counts).sum(), counts.sum()

    for data in ((x, y, mask), batches_of_eight(x, y, mask)):
        truth = pair(model(x), y, mask)[0].detach() / 23
        torch.testing.assert_close(LossSurface(model, pair, data).loss(), truth)


@pytest.mark.parametrize("ignored", ["labels", "class weights"])
def test_data_of_which_the_loss_counts_nothing_are_refused(ignored):
    y = torch.full((6,), -100 if ignored == "labels" else 1)
    loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 0.0, 1.0]))
    with pytest.raises(InputError, match=r"data = targets that weigh 0 in all: expected targets that the loss counts"):
        LossSurface(nn.Linear(4, 3), loss, (torch.ones(6, 4), y)).loss()
