"""Training an ensemble: the loop over epochs and steps, early stopping, and checkpoints to go on from."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from bathymetry.core.errors import InputError, whole_number
from bathymetry.core.resources import free_bytes, gigabytes
from bathymetry.core.streams import stream
from bathymetry.data.examples import Data
from bathymetry.models.mlp import MLPConfig
from bathymetry.training.checkpoint import Checkpoint, Clock, check_same_training
from bathymetry.training.config import TrainingConfig
from bathymetry.training.ensemble import Batch, EvaluationSet, StackedTensors, build_members, check_fit
from bathymetry.training.loss import Criterion
from bathymetry.training.module_backends import BACKENDS, BackendName, Ensemble, LoopBackend, choose_backend
from bathymetry.training.optimizers import Optimizer, Stepper
from bathymetry.training.records import Recorder, TrainingState, evaluate
from bathymetry.training.result import Origin, Trained

_ROW_BYTES = 1_000  # Python's overhead for a few tensors
_MOST_MEMBERS = 10**12


def train(
    build: TrainingConfig | Callable[[], nn.Module],
    data: Data | Sequence[Tensor] | None = None,
    *,
    members: int | range = 10,
    device: str | torch.device = "cpu",
    backend: BackendName = "auto",
    progress: Callable[[float], None] | None = None,
    checkpoint: Callable[[Checkpoint], None] | None = None,
    checkpoint_every: float = 60.0,
    resume: Checkpoint | None = None,
    **fields: Any,
) -> Trained:
    """Train an ensemble of networks of one architecture: `train(config)` or `train(build, data, epochs=100, …)`.

    Network, loss and data are tried on a few examples first.

    "auto" takes the first backend that suits: "stacked" for plain multilayer perceptrons on rows of numbers with mean
    squared error or cross-entropy; "vmap" for other networks with up to 8,192 input numbers per batch on a CPU, and any
    number on a GPU, where `torch.func` gives what the networks give, so not if a layer is random, recurs or keeps
    running statistics; else "loop", one network after another, which is up to twice as fast with larger batches
    (docs/decisions.md has the table). Optimizers other than Adam, AdamW and SGD need "loop".

    Args:
        build: A `TrainingConfig`, or what makes one network.
        data: What to train and evaluate on, if `build` is no config.
        members: How many, or their numbers: `range(6, 10)` gives members 6 to 9 of a larger ensemble.
        device: Where to compute.
        backend: "auto", "stacked", "vmap" or "loop".
        progress: Is called now and then with the share of steps done, from 0 to 1.
        checkpoint: Is called with a `Checkpoint` every `checkpoint_every` seconds, and before Ctrl-C or SIGTERM ends
            the training.
        checkpoint_every: Seconds between checkpoints; the first comes after 15 at the latest.
        resume: A checkpoint of this very training to go on from, as if it had never stopped.
        **fields: Fields of `TrainingConfig`, if `build` is no config.

    Returns:
        The records and the trained members.

    Raises:
        InputError: If an argument or a field is not what is expected, or network, loss and data do not fit.

    Example:
        >>> import bathymetry as bm
        >>> trained = train(bm.MLPConfig((1, 8, 1)), bm.data.function("cos"), members=3, epochs=20)
        >>> trained.backend, trained.record.loss.sel(split="train").shape
        ('stacked', (3, 21))
    """
    if isinstance(build, TrainingConfig):
        if data is not None or fields:
            remedy = "a config has its own; expected dataclasses.replace(config, …) to change it"
            raise InputError(next(iter(fields), "data"), "an argument next to a config", remedy)
        config = build
    else:
        config = TrainingConfig(build, data, **fields)  # type: ignore[arg-type]
    if not isinstance(backend, str) or backend not in BACKENDS:
        raise InputError("backend", backend, f"expected one of {', '.join(BACKENDS)}")
    clock = Clock(progress, checkpoint, checkpoint_every)
    run = TrainingRun(config, _member_range(members), _device(device), backend)
    if resume is not None:
        run.resume(resume)
    return run.run(clock)


class TrainingRun:
    """One training: what has been done, and what comes next."""

    def __init__(self, config: TrainingConfig, members: range, device: torch.device, backend: BackendName) -> None:
        self._config, self._members, self._dtype = config, members, config.dtype
        self._train_set = config.train_set(members).to(device, self._dtype)
        self._sets = self._evaluation_sets(device)
        shown = "{}" if config.evaluate_on is None else "evaluate_on[{}]"
        names = {shown.format(name): one for name, one in self._sets.items()}
        for name, one in {"targets": self._train_set, **names}.items():
            _check_own_targets(name, one, len(members))
        self._criterion = Criterion(config.loss, self._dtype).to(device)
        modules = build_members(config.network, members, int(config.seed), same_start=config.same_start)
        named_sets = {"train": self._train_set, **names}
        check_fit(modules[0], self._criterion, named_sets, config.batch_size, self._dtype)
        self._formula = _formula(self._criterion, [self._train_set, *self._sets.values()])
        entries = sum(p.numel() for p in modules[0].parameters())
        _check_room("record_at", len(config.recorded_epochs), len(members), 16 * len(self._sets))
        _check_room("snapshots", len(config.snapshots), len(members), self._dtype.itemsize * entries)
        self._recorded = frozenset(config.recorded_epochs) | {0, config.num_epochs}
        self._snapshot_at = frozenset(config.snapshots)

        self._modules = [module.to(device=device, dtype=self._dtype) for module in modules]
        trainable = [{n: p for n, p in module.named_parameters() if p.requires_grad} for module in self._modules]
        self._parameters = StackedTensors.of(trainable, self._dtype, device)
        self._gradients = self._parameters.zeros_like()
        self._clipped = self._gradients if config.clip_norm is None else self._gradients.zeros_like()
        stacked = isinstance(config.optimizer, Optimizer)
        if not stacked and backend in ("stacked", "vmap"):
            remedy = "this optimizer steps one network at a time; expected auto or loop, or bm.Adam, bm.AdamW or bm.SGD"
            raise InputError("backend", backend, remedy)
        ensemble = Ensemble(
            self._modules,
            self._parameters,
            self._gradients,
            self._criterion,
            self._formula,
            members,
            int(config.seed),
        )
        batch_numbers = (config.batch_size or len(config.train_examples)) * config.train_examples.inputs[0].numel()
        self._backend = choose_backend(backend if stacked else "loop", ensemble, self._first_rows(3), batch_numbers)
        self._stepper = Stepper(config.optimizer, config.schedule, self._parameters, self._clipped)
        self._recorder = Recorder(members, config.named_measurements)
        self._full_batch = self._first_rows(None) if config.batch_size is None else None

        self._step = self._epoch = 0
        self._batches = 0  # done of this epoch
        self._batch_loss: Float[Tensor, " member"] = torch.full((len(members),), torch.nan, dtype=torch.float64)
        self._stopped: Bool[Tensor, " member"] = torch.zeros(len(members), dtype=torch.bool)
        self._stopped_at: Int[Tensor, " member"] = torch.full((len(members),), -1, dtype=torch.int64)
        self._frozen: dict[str, Tensor] = {}  # parameters of members that stopped
        self._frozen_buffers: dict[str, Tensor] = {}
        self._snapshots: dict[int, dict[str, Tensor]] = {}

    def _evaluation_sets(self, device: torch.device) -> dict[str, EvaluationSet]:
        if self._config.evaluate_on is not None:
            sets = self._config.evaluation_sets(self._members)
            return {name: one.to(device, self._dtype) for name, one in sets.items()}
        test = self._config.test_examples
        tests = {} if test is None else {"test": EvaluationSet(test).to(device, self._dtype)}
        return {"train": self._train_set, **tests}

    def _first_rows(self, count: int | None) -> Batch:
        """A batch of the first examples, the same for all members; of all if None."""
        examples, rows = self._train_set.examples, slice(count)
        inputs = examples.scaled(examples.inputs[rows], self._dtype)
        return Batch(inputs, self._train_set.targets(len(self._members), rows), shared=True)

    def run(self, clock: Clock) -> Trained:
        """Train to the end."""
        with clock.holding_signals():
            for epoch in range(self._epoch, self._config.num_epochs + 1):
                self._epoch = epoch
                if self._batches == 0:
                    after = self._differentiate_full_batch()
                    self._record()
                    if epoch == self._config.num_epochs or bool(self._stopped.all()):
                        break
                    self._write_buffers(after)
                for batch in self._remaining_batches():
                    if self._full_batch is None:
                        self._batch_loss = self._backend.differentiate(batch)
                    self._update(batch)
                    clock.tick(self._step / self._config.num_steps, self.checkpoint)
                self._batches = 0
        return self._result()

    def _differentiate_full_batch(self) -> dict[str, Tensor]:
        """Compute the gradient before the record; return the buffers after it, which count from the step on."""
        if self._full_batch is None:
            return {}
        before = {name: buffer.clone() for name, buffer in self._buffers().items()}
        self._full_batch = replace(self._full_batch, step=self._step)
        self._batch_loss = self._backend.differentiate(self._full_batch)
        after = {name: buffer.clone() for name, buffer in self._buffers().items()}
        self._write_buffers(before)
        return after

    def _remaining_batches(self) -> Iterator[Batch]:
        """The batches of this epoch that are still to do; each member has its own order."""
        if self._full_batch is not None:
            if self._batches == 0:
                yield self._full_batch
            return
        examples, members = self._train_set.examples, len(self._members)
        orders = [
            torch.randperm(len(examples), generator=stream(int(self._config.seed), member, "data order", self._epoch))
            for member in self._members
        ]
        batches = torch.split(torch.stack(orders), int(self._config.batch_size or 0), dim=1)
        for positions in batches[self._batches :][: self._config.num_steps - self._step]:
            rows = positions.to(examples.inputs.device)
            inputs = examples.scaled(examples.inputs.index_select(0, rows.flatten()), self._dtype)
            inputs = inputs.view(members, rows.shape[1], *inputs.shape[1:])
            yield Batch(inputs, self._train_set.targets(members, rows), shared=False, step=self._step)

    def _update(self, batch: Batch) -> None:
        self._clip()
        self._stepper.step(self._step / self._config.num_steps, lambda position: self._closure(batch, position))
        self._step += 1
        self._batches += 1
        if self._frozen:
            for name, view in self._parameters.views.items():
                view[self._stopped] = self._frozen[name][self._stopped]
            self._write_buffers(self._frozen_buffers)

    def _clip(self) -> None:
        """Scale each member's gradient down to `clip_norm`, as torch.nn.utils.clip_grad_norm_ does."""
        if self._config.clip_norm is None:
            return
        views = self._gradients.views
        norms = torch.stack([torch.linalg.vector_norm(view.flatten(1), dim=1) for view in views.values()]).norm(dim=0)
        factors = (self._config.clip_norm / (norms + 1e-6)).clamp(max=1.0)
        for name, view in views.items():
            torch.mul(view, factors.view(-1, *[1] * (view.ndim - 1)), out=self._clipped.views[name])

    def _closure(self, batch: Batch, position: int) -> Callable[[], Tensor]:
        def evaluate_again() -> Tensor:
            assert isinstance(self._backend, LoopBackend)
            with torch.random.fork_rng(devices=[]):
                loss = self._backend.differentiate_one(batch, position)
            self._clip()
            return loss

        return evaluate_again

    def _record(self) -> None:
        """Record, measure and decide who stops."""
        epoch = self._epoch
        scores = self._scores() if epoch in self._recorded else None
        state = TrainingState(
            epoch=epoch,
            step=self._step,
            members=self._members,
            seed=int(self._config.seed),
            parameters=self._parameters,
            gradients=self._gradients,
            moments=self._stepper.moments,
            batch_loss=self._batch_loss,
            backend=self._backend,
        )
        self._recorder.record(state, scores)
        if scores is not None and self._config.stop is not None:
            newly = self._config.stop.reached(scores) & ~self._stopped
            self._stopped_at[newly] = epoch
            self._stopped |= newly
            if newly.any():
                self._freeze()
        if epoch in self._snapshot_at or epoch == self._config.num_epochs:
            self._snapshots[epoch] = self._parameters.copied()

    def _freeze(self) -> None:
        """Keep the parameters and buffers of members that stopped."""
        self._frozen = self._parameters.copied()
        buffers = self._buffers().items()
        self._frozen_buffers = {n: b.clone() for n, b in buffers if self._stopped[int(n.partition("/")[0])]}

    def _scores(self) -> dict[str, Float[Tensor, " member"]]:
        scores: dict[str, Tensor] = {}
        full = self._full_batch is not None and self._full_batch.targets.is_floating_point()
        for name, examples in self._sets.items():
            if examples is self._train_set and full and not isinstance(self._backend, LoopBackend):
                scores[f"{name}_loss"] = self._batch_loss.clone()  # known from the gradient
                continue
            loss, accuracy = evaluate(
                self._backend, self._criterion, self._formula, examples, len(self._members), self._dtype
            )
            scores[f"{name}_loss"] = loss
            if accuracy is not None:
                scores[f"{name}_accuracy"] = torch.where(loss.isnan(), torch.nan, accuracy)
        return scores

    def _buffers(self) -> dict[str, Tensor]:
        return self._backend.buffers() if isinstance(self._backend, LoopBackend) else {}

    def _write_buffers(self, values: Mapping[str, Tensor]) -> None:
        buffers = self._buffers() if values else {}
        for name, one in values.items():
            buffers[name].copy_(one)

    def checkpoint(self) -> Checkpoint:
        """Everything that is needed to go on from here."""
        tensors = {"parameters": self._parameters.flat, "gradients": self._gradients.flat}
        tensors |= {"batch_loss": self._batch_loss, "stopped": self._stopped, "stopped_at": self._stopped_at}
        moments, optimizer = self._stepper.state()
        tensors |= moments
        tensors |= {f"buffer/{name}": buffer for name, buffer in self._buffers().items()}
        for epoch, snapshot in self._snapshots.items():
            tensors |= {f"snapshot/{epoch}/{name}": values for name, values in snapshot.items()}
        rows = {f"record/{name}": rows for name, rows in self._recorder.rows.items()}
        tensors |= {name: torch.stack(list(values.values()), dim=1) for name, values in rows.items()}
        state = {
            "training": {
                "members": [self._members.start, self._members.stop],
                "seed": int(self._config.seed),
                "epochs": self._config.num_epochs,
                "steps": self._config.num_steps,
                "batch size": self._config.batch_size and int(self._config.batch_size),
                "examples": len(self._train_set.examples),
                "backend": self._backend.name,
            },
            "step": self._step,
            "epoch": self._epoch,
            "batches": self._batches,
            "epochs": {name: list(values) for name, values in rows.items()} | {"snapshot": sorted(self._snapshots)},
            "optimizer": optimizer,
        }
        return Checkpoint({name: one.detach().cpu().clone().contiguous() for name, one in tensors.items()}, state)

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint of this training."""
        if not isinstance(checkpoint, Checkpoint):
            raise InputError("resume", checkpoint, "expected what `checkpoint` was called with")
        config, views = self._config, self._parameters.views
        check_same_training(checkpoint, self.checkpoint(), config.steps_per_epoch, config.num_steps, self._due, views)
        state, tensors, device = checkpoint.state, checkpoint.tensors, self._parameters.flat.device
        self._parameters.flat.copy_(tensors["parameters"])
        self._gradients.flat.copy_(tensors["gradients"])
        self._step, self._epoch, self._batches = state["step"], state["epoch"], state["batches"]
        try:
            self._stepper.resume(tensors, state["optimizer"], self._step)
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            problem = "a checkpoint whose state of the optimizer does not fit"
            raise InputError("resume", problem, "expected one of this very training") from error
        self._write_buffers({name: tensors[f"buffer/{name}"] for name in self._buffers()})
        for name, epochs in state["epochs"].items():
            if name == "snapshot":
                for epoch in epochs:
                    views = self._parameters.views
                    self._snapshots[epoch] = {one: tensors[f"snapshot/{epoch}/{one}"].to(device) for one in views}
            else:
                rows = tensors[name].to(device).unbind(dim=1)
                self._recorder.rows[name.removeprefix("record/")] = dict(zip(epochs, rows, strict=True))
        self._batch_loss = tensors["batch_loss"].to(device)
        self._stopped, self._stopped_at = tensors["stopped"].clone(), tensors["stopped_at"].clone()
        if bool(self._stopped.any()):
            self._freeze()

    def _due(self, epoch: int, batches: int) -> dict[str, list[int]]:
        """At which epochs everything was recorded by the time that so many batches of an epoch are done."""
        due = self._recorder.due(list(self._scores()), sorted(self._recorded))
        named = {f"record/{name}": epochs for name, epochs in due.items()} | {"snapshot": sorted(self._snapshot_at)}
        past = {n: [one for one in epochs if one < epoch + (batches > 0)] for n, epochs in named.items()}
        return {name: epochs for name, epochs in past.items() if epochs or name == "snapshot"}

    def _result(self) -> Trained:
        note = ""
        if not isinstance(self._config.optimizer, Optimizer):
            note = f"{self._stepper.name} has no stacked form: members were trained one by one."
        per_epoch, num_steps = self._config.steps_per_epoch, self._config.num_steps
        done = [epoch for epoch in sorted(self._recorded) if epoch <= self._epoch]
        steps = {epoch: min(epoch * per_epoch, num_steps) for epoch in done}
        sizes = {name: len(one.examples) for name, one in self._sets.items()}
        attributes = {"backend": self._backend.name} | ({"note": note} if note else {})
        record = self._recorder.dataset(steps, sizes, attributes)
        finite = self._parameters.vectors().isfinite().all(1)
        record["diverged"] = ("member", (~finite).cpu().numpy())
        record["stopped_at"] = ("member", self._stopped_at.numpy())
        module, network = self._modules[0], self._config.network
        bare = not any(True for _ in module.buffers()) and len(list(module.parameters())) == len(self._parameters.views)
        mlp = network if isinstance(network, MLPConfig) else None
        return Trained(
            record=record,
            parameters=self._parameters.copied(),
            snapshots=dict(sorted(self._snapshots.items())),
            members=self._members,
            backend=self._backend.name,
            note=note,
            _origin=Origin(type(module).__name__, int(self._config.seed), mlp, bare),
            _modules=tuple(self._modules),
        )


def _formula(criterion: Criterion, sets: Sequence[EvaluationSet]) -> str | None:
    """Name "mse" or "cross_entropy" if the loss is just that on all targets; the formulas know no ignored labels."""
    targets = [one.examples.targets if one.own_targets is None else one.own_targets for one in sets]
    if criterion.plain == "mse":
        return "mse" if all(one.is_floating_point() for one in targets) else None
    whole = all(one.dtype == torch.int64 and bool(criterion.counted(one).all()) for one in targets)
    return criterion.plain if whole else None


def _member_range(members: int | range) -> range:
    numbers = members if isinstance(members, range) else range(whole_number("members", members, 1))
    if numbers.stop - numbers.start > _MOST_MEMBERS:
        raise InputError("members", members, f"expected at most {_MOST_MEMBERS:,}")
    if len(numbers) < 1 or numbers.step != 1 or numbers.start < 0:
        raise InputError("members", members, "expected at least 1, in steps of 1 from 0 or above")
    return numbers


def _device(device: str | torch.device) -> torch.device:
    if not isinstance(device, str | torch.device):
        raise InputError("device", device, "expected cpu, cuda or the like")
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise InputError("device", str(device), "this machine has no such device; expected cpu") from error
    return found


def _check_room(field: str, count: int, members: int, bytes_per_member: int) -> None:
    needed, free = count * (members * bytes_per_member + _ROW_BYTES), free_bytes()
    if needed > free:
        sizes = f"what is kept at {count:,} epochs takes about {gigabytes(needed)} and {gigabytes(free)} are free"
        raise InputError(field, f"{count:,} epochs", f"{sizes}; expected a list of fewer epochs")


def _check_own_targets(name: str, one: EvaluationSet, members: int) -> None:
    own, wanted = one.own_targets, (members, len(one.examples))
    if own is not None and tuple(own.shape[:2]) != wanted:
        remedy = f"expected ({members}, {wanted[1]}, …): a row for each member"
        raise InputError(name, f"shape {tuple(own.shape)}", remedy)
