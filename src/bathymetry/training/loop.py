"""Training an ensemble: the loop over epochs and steps, early stopping, and checkpoints to go on from."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, chain
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from bathymetry.core.errors import InputError, first_line, whole_number
from bathymetry.core.randomness import preserve_rng_state, stream
from bathymetry.core.system import check_memory
from bathymetry.data.examples import Data
from bathymetry.models.mlp import MLPConfig
from bathymetry.training.backends import BACKENDS, Backend, BackendName, Batch, LoopBackend
from bathymetry.training.checkpoint import Checkpoint, Clock, difference, packed, unpacked
from bathymetry.training.choosing import choose_backend
from bathymetry.training.config import TrainingConfig
from bathymetry.training.ensemble import check_fit
from bathymetry.training.optimizers import Optimizer
from bathymetry.training.parts import Part, joined, stacked_ensemble
from bathymetry.training.perceptrons import MLPPart
from bathymetry.training.records import Recorder, TrainingState, evaluate
from bathymetry.training.result import Origin, Trained
from bathymetry.training.stepper import Stepper

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

    "auto" takes the first backend that suits: "stacked" for plain multilayer perceptrons on rows of numbers with mean
    squared error or cross-entropy; "vmap" for other networks with up to 8,192 input numbers per batch on a CPU, and any
    number on a GPU, unless a layer is random, recurs or keeps running statistics; else "loop", one network after
    another (docs/decisions.md has the timings). Optimizers other than Adam, AdamW and SGD need "loop".

    A parameter that the loss of a batch does not depend on stays as it is in that step, as PyTorch leaves it: without
    weight decay, momentum or a step of Adam's count.

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
        resume: A checkpoint of this very training to go on from.
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
        config = TrainingConfig.of(network=build, data=data, **fields)
    if not isinstance(backend, str) or backend not in BACKENDS:
        raise InputError("backend", backend, f"expected one of {', '.join(BACKENDS)}")
    clock = Clock(progress, checkpoint, checkpoint_every)
    run = TrainingRun([(config, member_range(members))], device_of(device), backend)
    if resume is not None:
        run.resume(resume)
    return run.run(clock)[0]


class TrainingRun:
    """One training, of one config or of several that differ in no more than `stack_key` says."""

    def __init__(
        self, parts: Sequence[tuple[TrainingConfig, range]], device: torch.device, backend: BackendName
    ) -> None:
        self._config = config = parts[0][0]  # for what all have in common
        sizes = [len(members) for _, members in parts]
        train_sets = [one.train_set(members).to(device, one.dtype) for one, members in parts]
        self._train_set = joined("x", train_sets, sizes)
        evaluated = [one.evaluation_sets(members) for one, members in parts]
        self._sets = {}
        for name in evaluated[0]:
            each = [one[name].to(device, config.dtype) for one in evaluated]
            self._sets[name] = joined(f"evaluate_on[{name}]", each, sizes)
        if config.evaluate_on is None:
            self._sets = named = {"train": self._train_set, **self._sets}
        else:
            named = {"train": self._train_set, **{f"evaluate_on[{name}]": one for name, one in self._sets.items()}}
        may_stack = backend in ("auto", "stacked") and isinstance(config.optimizer, Optimizer)
        self._ensemble = stacked_ensemble(parts, device, list(named.values()), may_stack=may_stack)
        check_fit(self._ensemble, named, config.batch_size)
        self._parameters, self._gradients = self._ensemble.parameters, self._ensemble.gradients
        stored = {
            "record_at": (config.recorded_epochs, 16 * sum(sizes) * len(self._sets)),
            "snapshots": (config.snapshots, self._parameters.flat.nbytes),
        }
        for name, (epochs, size) in stored.items():
            shown = f"{len(epochs):,} epochs"
            what = f"what is stored at {shown} takes about"
            check_memory(name, shown, len(epochs) * (size + _ROW_BYTES), what, "expected fewer epochs")
        self._recorded = frozenset(config.recorded_epochs) | {0, config.num_epochs}
        snapshots = frozenset(config.snapshots) | {config.num_epochs}
        self._backend, self._note = self._chosen(backend)
        self._parts = [self._part(*part, end, snapshots) for part, end in zip(parts, accumulate(sizes), strict=True)]
        self._clipped = self._gradients if config.clip_norm is None else self._gradients.zeros_like()
        rows = [one.optimizer.rows(len(m)) for one, m in parts if isinstance(one.optimizer, Optimizer)]
        own = list(chain.from_iterable(rows))
        self._stepper = Stepper(
            config.optimizer, config.schedule, self._parameters, self._clipped, own, self._ensemble.members
        )
        self._full_batch = None
        if config.batch_size is None:
            full = self._first_rows(None)
            padding = self._backend.padded(len(full.inputs)) - len(full.inputs)
            inputs = torch.cat([full.inputs, full.inputs[:1].expand(padding, *full.inputs.shape[1:])])
            self._full_batch = replace(full, inputs=inputs)

        self._step = self._epoch = 0
        self._batches = 0  # done of this epoch
        self._batch_loss: Float[Tensor, " member"] = torch.full(
            (sum(sizes),), torch.nan, dtype=torch.float64, device=device
        )
        self._stopped: Bool[Tensor, " member"] = torch.zeros(sum(sizes), dtype=torch.bool)
        self._stopped_at: Int[Tensor, " member"] = torch.full((sum(sizes),), -1, dtype=torch.int64)
        self._frozen: list[tuple[Tensor, Tensor]] = []  # parameters of members that stopped, with copies
        self._frozen_state: dict[str, Any] = {}  # their buffers and attributes

    def _part(self, config: TrainingConfig, members: range, end: int, snapshots: frozenset[int]) -> Part:
        place, ensemble = slice(end - len(members), end), self._ensemble
        recorder = Recorder(members, config.named_measurements, self._recorded, snapshots)
        backend = self._backend
        if len(members) < len(ensemble.members):
            assert ensemble.activations is not None
            assert ensemble.formula is not None
            backend = MLPPart(self._parameters.part(place), ensemble.activations, ensemble.formula)
        return Part(config, members, place, ensemble.modules[place], recorder, backend)

    def _chosen(self, requested: BackendName) -> tuple[Backend, str]:
        config = self._config
        if not isinstance(config.optimizer, Optimizer):
            if requested in ("stacked", "vmap"):
                remedy = "this optimizer steps one network at a time; expected auto or loop, or bm.Adam, AdamW or SGD"
                raise InputError("backend", requested, remedy)
            note = "This optimizer has no stacked form: members were trained one by one."
            return LoopBackend(self._ensemble), note
        batch_numbers = (config.batch_size or len(config.train_examples)) * config.train_examples.inputs[0].numel()
        trial = self._first_rows(3)
        if config.batch_size is not None:
            own = trial.inputs.expand(len(self._ensemble.members), *trial.inputs.shape)
            trial = replace(trial, inputs=own, shared=False)
        return choose_backend(requested, self._ensemble, trial, batch_numbers)

    def _first_rows(self, count: int | None) -> Batch:
        """A batch of the first examples, the same for all members; of all if None."""
        examples, rows = self._train_set.examples, slice(count)
        inputs = examples.scaled(examples.inputs[rows], self._config.dtype)
        return Batch(inputs, self._train_set.targets(len(self._ensemble.members), rows), shared=True)

    def run(self, clock: Clock) -> list[Trained]:
        """Train to the end."""
        with clock.holding_signals(), preserve_rng_state():
            for epoch in range(self._epoch, self._config.num_epochs + 1):
                self._epoch = epoch
                if self._batches == 0:
                    after = self._differentiate_full_batch()
                    self._record()
                    if epoch == self._config.num_epochs or bool(self._stopped.all()):
                        break
                    if after:
                        self._backend.load(after)
                for batch in self._remaining_batches():
                    if self._full_batch is None:
                        self._batch_loss = self._backend.differentiate(batch)
                    self._update(batch)
                    clock.tick(self._step / self._config.num_steps, lambda: packed(self._state()))
                self._batches = 0
        return [self._result(part) for part in self._parts]

    def _differentiate_full_batch(self) -> dict[str, Any]:
        """Compute the gradient before the record; return what the networks keep of it from the step on."""
        if self._full_batch is None:
            return {}
        before = self._backend.copied()
        self._full_batch = replace(self._full_batch, step=self._step)
        self._batch_loss = self._backend.differentiate(self._full_batch)
        after = self._backend.copied()
        self._backend.load(before)
        return after

    def _remaining_batches(self) -> Iterator[Batch]:
        """The batches of this epoch that are still to do; each member has its own order."""
        if self._full_batch is not None:
            if self._batches == 0:
                yield self._full_batch
            return
        examples, members = self._train_set.examples, self._ensemble.members
        generators = [stream(seed, member, "data order", self._epoch) for seed, member in members]
        orders = torch.stack([torch.randperm(len(examples), generator=one) for one in generators])
        size = int(self._config.batch_size or 0)
        followed = torch.cat([orders, orders[:, : self._backend.padded(size)]], dim=1)  # padding is whatever comes next
        starts = range(self._batches * size, len(examples), size)[: self._config.num_steps - self._step]
        for start in starts:
            positions = orders[:, start : start + size]
            padded = followed[:, start : start + self._backend.padded(positions.shape[1])]
            rows, padded = (one.to(examples.inputs.device) for one in (positions, padded))
            inputs = examples.scaled(examples.inputs.index_select(0, padded.flatten()), self._config.dtype)
            inputs = inputs.view(*padded.shape, *inputs.shape[1:])
            yield Batch(inputs, self._train_set.targets(len(members), rows), shared=False, step=self._step)

    def _update(self, batch: Batch) -> None:
        self._clip()
        self._stepper.skip(self._backend.missing)
        self._stepper.step(self._step / self._config.num_steps, lambda position: self._evaluate_again(batch, position))
        self._step += 1
        self._batches += 1
        for tensor, values in self._frozen:
            tensor.copy_(values)
        if self._frozen:
            self._backend.load(self._frozen_state)

    def _clip(self) -> None:
        """Scale each member's gradient down to `clip_norm`, as torch.nn.utils.clip_grad_norm_ does."""
        if self._config.clip_norm is None:
            return
        views = self._gradients.views
        norms = [torch.linalg.vector_norm(view.flatten(1), dim=1) for view in views.values()]
        squared = torch.zeros_like(norms[0])
        for one in norms:  # torch.sum rounds differently if there is a single member
            squared += one.square()
        factors = (self._config.clip_norm / (squared.sqrt() + 1e-6)).clamp(max=1.0)
        for name, view in views.items():
            torch.mul(view, factors.view(-1, *[1] * (view.ndim - 1)), out=self._clipped.views[name])

    def _evaluate_again(self, batch: Batch, position: int) -> Tensor:
        """Loss and gradient of one member, for optimizers that need several in a step."""
        assert isinstance(self._backend, LoopBackend)
        loss = self._backend.differentiate_one(batch, position)
        self._clip()
        self._stepper.skip(self._backend.missing)
        return loss

    def _record(self) -> None:
        """Record, measure and decide who stops."""
        scores = self._scores() if self._epoch in self._recorded else {}
        newly = [
            self._record_part(part, {name: one[part.place] for name, one in scores.items()})
            for part in self._parts
            if not part.finished
        ]
        if any(newly):
            self._freeze()

    def _record_part(self, part: Part, scores: Mapping[str, Float[Tensor, " member"]]) -> bool:
        """Record one part; say whether members of it stop."""
        place = part.place
        if not part.stacks:
            moments = {name: one.part(place) for name, one in self._stepper.moments.items()}
            parameters, gradients = self._parameters.part(place), self._gradients.part(place)
            part.stacks = {"parameters": parameters, "gradients": gradients, "moments": moments}
        state = TrainingState(
            epoch=self._epoch,
            step=self._step,
            members=part.members,
            seed=int(part.config.seed),
            **part.stacks,
            batch_loss=self._batch_loss[place],
            backend=part.backend,
        )
        part.recorder.record(state, scores)
        if part.config.stop is None or self._epoch not in self._recorded:
            return False
        newly = part.config.stop.reached(scores) & ~self._stopped[place]
        self._stopped_at[place][newly] = self._epoch
        self._stopped[place] |= newly
        part.finished = bool(self._stopped[place].all())
        return bool(newly.any())

    def _freeze(self) -> None:
        """Copy what members that stopped consist of, to restore it after each step."""
        stopped = self._stopped.nonzero().flatten().tolist()
        views = [view[position] for position in stopped for view in self._parameters.views.values()]
        self._frozen = [(view, view.clone()) for view in views]
        for kind, values in self._backend.copied().items():
            own = {name: one for name, one in values.items() if int(name.partition("/")[0]) in stopped}
            self._frozen_state[kind] = own

    def _scores(self) -> dict[str, Float[Tensor, " member"]]:
        scores: dict[str, Tensor] = {}
        full = self._full_batch is not None and self._full_batch.targets.is_floating_point()
        for name, examples in self._sets.items():
            if examples is self._train_set and full and not isinstance(self._backend, LoopBackend):
                scores[f"{name}_loss"] = self._batch_loss.to("cpu", copy=True)  # known from the gradient
                continue
            loss, accuracy = evaluate(self._backend, self._ensemble, examples)
            scores[f"{name}_loss"] = loss
            if accuracy is not None:
                scores[f"{name}_accuracy"] = torch.where(loss.isnan(), torch.nan, accuracy)
        return scores

    def _state(self) -> dict[str, Any]:
        """Everything that is needed to go on from here."""
        config = self._config
        return {
            "training": {
                "members": [end for part in self._parts for end in (part.members.start, part.members.stop)],
                "seed": [int(part.config.seed) for part in self._parts],
                "epochs": config.num_epochs,
                "steps": config.num_steps,
                "batch size": config.batch_size and int(config.batch_size),
                "examples": len(self._train_set.examples),
                "backend": self._backend.name,
            },
            "step": self._step,
            "epoch": self._epoch,
            "batches": self._batches,
            "parameters": self._parameters.views,
            "gradients": self._gradients.views,
            "moments": {name: moment.views for name, moment in self._stepper.moments.items()},
            "optimizers": self._stepper.state(),
            "buffers": self._backend.buffers(),
            "attributes": self._backend.attributes.changed(),
            "members": {"loss": self._batch_loss, "stopped": self._stopped, "stopped at": self._stopped_at},
            "parts": {str(place): part.recorder.state() for place, part in enumerate(self._parts)},
        }

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint of this training."""
        if not isinstance(checkpoint, Checkpoint):
            raise InputError("resume", checkpoint, "expected what `checkpoint` was called with")
        expected = "expected one of this very training"
        try:
            state = unpacked(checkpoint)
            problem = self._difference(state)
            if problem is None:
                self._load(state)
        except (KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
            raise InputError("resume", f"a checkpoint that can't be read ({first_line(error)})", expected) from error
        if problem is not None:
            raise InputError("resume", f"a checkpoint {problem}", expected)

    def _difference(self, state: Mapping[str, Any]) -> str | None:
        """In what a state is none of this training."""
        own, config = self._state(), self._config
        step, epoch, batches = state["step"], state["epoch"], state["batches"]
        done = min(epoch * config.steps_per_epoch + batches, config.num_steps)
        if step != done or not 0 <= batches <= config.steps_per_epoch or epoch < 0:
            return f"at step {step} after {batches} batches of epoch {epoch}"
        fixed = ("training", "parameters", "gradients", "moments", "buffers", "members")
        expected = {name: own[name] for name in fixed}
        scores, end = list(self._scores()), epoch + (batches > 0)
        found = {name: state[name] for name in fixed}
        for place, part in enumerate(self._parts):
            stopped = state["members"]["stopped"][part.place]
            last = int(state["members"]["stopped at"][part.place].max()) + 1 if bool(stopped.all()) else end
            tensors = self._parameters.part(part.place)
            expected[f"part {place}"] = part.recorder.state_at(min(end, last), scores, tensors)
            own = state["parts"][str(place)]
            rows = {name: list(one.shape[:2]) for name, one in own["rows"].items()}
            found[f"part {place}"] = {**own, "rows": rows}
        return difference(expected, found)

    def _load(self, state: Mapping[str, Any]) -> None:
        device = self._parameters.flat.device
        self._step, self._epoch, self._batches = state["step"], state["epoch"], state["batches"]
        self._parameters.load(state["parameters"])
        self._gradients.load(state["gradients"])
        for name, moment in self._stepper.moments.items():
            moment.load(state["moments"][name])
        self._stepper.resume(state["optimizers"], self._step)
        self._backend.load(state)
        for place, part in enumerate(self._parts):
            part.recorder.load(state["parts"][str(place)], device)
        self._batch_loss = state["members"]["loss"].to(device)
        self._stopped, self._stopped_at = state["members"]["stopped"], state["members"]["stopped at"]
        for part in self._parts:
            part.finished = bool(self._stopped[part.place].all())
        self._freeze()

    def _result(self, part: Part) -> Trained:
        config, parameters = part.config, self._parameters.part(part.place)
        end = int(self._stopped_at[part.place].max()) if part.finished else self._epoch
        attributes = {"backend": self._backend.name} | ({"note": self._note} if self._note else {})
        done = [epoch for epoch in sorted(self._recorded) if epoch <= end]
        steps = {epoch: min(epoch * config.steps_per_epoch, config.num_steps) for epoch in done}
        sizes = {name: len(one.examples) for name, one in self._sets.items()}
        record = part.recorder.dataset(steps, sizes, attributes)
        record["diverged"] = ("member", (~parameters.vectors().isfinite().all(1)).cpu().numpy())
        record["stopped_at"] = ("member", self._stopped_at[part.place].numpy().copy())
        module = part.modules[0]
        tensors = sum(1 for _ in (*module.buffers(), *module.parameters()))
        mlp = config.network if isinstance(config.network, MLPConfig) else None
        return Trained(
            record=record,
            parameters=parameters.copied(),
            snapshots=part.recorder.snapshots,
            members=part.members,
            backend=self._backend.name,
            note=self._note,
            _origin=Origin(type(module).__name__, int(config.seed), mlp, bare=tensors == len(parameters.views)),
            _modules=tuple(part.modules),
        )


def member_range(members: int | range) -> range:
    numbers = members if isinstance(members, range) else range(whole_number("members", members, 1))
    if numbers.stop - numbers.start > _MOST_MEMBERS:
        raise InputError("members", members, f"expected at most {_MOST_MEMBERS:,}")
    if len(numbers) < 1 or numbers.step != 1 or numbers.start < 0:
        raise InputError("members", members, "expected at least 1, in steps of 1 from 0 or above")
    return numbers


def device_of(device: str | torch.device) -> torch.device:
    if not isinstance(device, str | torch.device):
        raise InputError("device", device, "expected cpu, cuda or the like")
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise InputError("device", str(device), "this machine has no such device; expected cpu") from error
    return found
