"""Chunks: up to ten members of one config with their records and parameters, stored under the hash of the config."""

import hashlib
import json
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import xarray as xr
from numpy.typing import NDArray

from bathymetry.core.errors import DamagedError, StorageError, abridged
from bathymetry.core.identity import Description, canonical, digest
from bathymetry.core.showing import readable
from bathymetry.store import storage
from bathymetry.store.storage import Place

Arrays = Mapping[str, NDArray[Any]]
Say = Callable[[str], None]  # receives a sentence that a reader should know

CHUNK_MEMBERS = 10
CHUNKS = "units"  # as the first version called chunks, which are still found there
_RECORD, _SNAPSHOT = "record", "snapshot"
_FORMAT = 2  # how a chunk's file is laid out; in 1, losses of each set were variables of their own
_NAME = re.compile(r"(\d+)-(\d+)\.safetensors")
_MANY = 64  # chunks that are read at once, and configs from which on one listing of all is faster
_READERS = 16
_FAILED = ".failed.json"
_FAILED_NAME = re.compile(r"(\d+)-(\d+)\.failed\.json")


@readable
class Chunk:
    """Members that were trained and measured."""

    members: range
    record: xr.Dataset  # dims (member, …), the coordinate `member` being their numbers
    snapshots: Mapping[int, Mapping[str, NDArray[Any]]]  # epoch → parameter name → (member, *shape)
    provenance: Mapping[str, Any] = field(default_factory=dict)  # versions, threads, device, seconds

    def select(self, members: range) -> "Chunk":
        if members == self.members:
            return self
        if members.start < self.members.start or members.stop > self.members.stop:
            have, want = (f"{one.start} to {one.stop - 1}" for one in (self.members, members))
            raise DamagedError(f"A chunk is damaged: it holds members {have} where it should hold {want}.")
        rows = slice(members.start - self.members.start, members.stop - self.members.start)
        snapshots = {
            epoch: {name: array[rows] for name, array in arrays.items()} for epoch, arrays in self.snapshots.items()
        }
        return Chunk(members, self.record.isel(member=rows), snapshots, self.provenance)


def config_hash(description: Description) -> str:
    """Name a config by the digest of its description, 32 hexadecimal digits."""
    return digest(canonical(description))


def chunk_path(out: Place, config: str, members: range) -> Place:
    """Where a chunk is stored, whether or not it exists."""
    return out / CHUNKS / config / f"{members.start}-{members.stop - 1}.safetensors"


def stored(out: Place, config: str) -> list[range]:
    """The stored ranges of members, in the order of their first member, the longest first among equals."""
    return _ranges(storage.names(out / CHUNKS / config))


def _ranges(names: Iterable[str]) -> list[range]:
    found = [_NAME.fullmatch(name) for name in names]
    ranges = [range(int(one[1]), int(one[2]) + 1) for one in found if one]
    return sorted((one for one in ranges if len(one)), key=lambda one: (one.start, -one.stop))


def missing(have: Sequence[range], wanted: range) -> list[range]:
    """The ranges of at most ten members that together with `have` cover what is wanted."""
    covered = {member for one in have for member in one}
    gaps: list[range] = []
    for member in wanted:
        if member in covered:
            continue
        if gaps and gaps[-1].stop == member and len(gaps[-1]) < CHUNK_MEMBERS:
            gaps[-1] = range(gaps[-1].start, member + 1)
        else:
            gaps.append(range(member, member + 1))
    return gaps


def load(out: Place, config: str, wanted: range) -> Chunk:
    """Read the members wanted from the chunks that have them."""
    have = stored(out, config)
    return assembled(out, config, wanted, {one: read_chunk(chunk_path(out, config, one)) for one in have})


def assembled(out: Place, config: str, wanted: range, chunks: Mapping[range, Chunk]) -> Chunk:
    """Put the members wanted together from chunks that were read."""
    pieces, member = [], wanted.start
    for have in sorted(chunks, key=lambda one: (one.start, -one.stop)):
        if have.start <= member < have.stop and member < wanted.stop:
            pieces.append(chunks[have].select(range(member, min(have.stop, wanted.stop))))
            member = pieces[-1].members.stop
    if member < wanted.stop:
        raise StorageError(f"{out / CHUNKS / config} has no member {member}: run the study again.")
    if len(pieces) == 1:
        return pieces[0]
    longest = max((chunk.record for chunk in pieces), key=lambda one: one.sizes.get("epoch", 0))
    record = xr.concat(  # a measurement at an epoch that a chunk did not reach is NaN
        [_extended(chunk.record, longest) for chunk in pieces],
        dim="member",
        join="outer",
        data_vars="minimal",
        coords="minimal",
        compat="equals",
        combine_attrs="override",
    )
    snapshots = {
        epoch: {name: np.concatenate([chunk.snapshots[epoch][name] for chunk in pieces]) for name in arrays}
        for epoch, arrays in pieces[0].snapshots.items()
        if all(epoch in chunk.snapshots for chunk in pieces)
    }
    seconds = sum(chunk.provenance.get("seconds", 0.0) for chunk in pieces)
    return Chunk(wanted, record, snapshots, {**pieces[-1].provenance, "seconds": seconds})


def _extended(record: xr.Dataset, longest: xr.Dataset) -> xr.Dataset:
    """Repeat the last values of a chunk whose members all stopped early: a stopped member stays as it is."""
    if record.sizes.get("epoch") == longest.sizes.get("epoch"):
        return record
    return record.reindex(epoch=longest["epoch"].values, method="ffill").assign_coords(step=longest["step"])


def stored_in(out: Place, configs: Collection[str]) -> dict[str, list[range]]:
    """The stored ranges of members of several configs; of many at an address, with one listing of all chunks."""
    if isinstance(out, Path) or len(configs) < _MANY:
        return {config: stored(out, config) for config in configs}
    below = storage.names_below(out / CHUNKS)
    return {config: _ranges(below.get(config, ())) for config in configs}


def verify(
    out: Place, config: str, have: Sequence[range] | None = None, *, repair: bool = True
) -> tuple[dict[range, Chunk], list[str]]:
    """Read all stored chunks of a config; quarantine those that are damaged, with a sentence for each.

    With `repair` False, what can't be read is passed over and stays: another process may just have moved it.
    """
    paths = {members: chunk_path(out, config, members) for members in (stored(out, config) if have is None else have)}
    read: Iterable[tuple[range, Chunk | StorageError]] = zip(paths, map(_attempt, paths.values()), strict=True)
    return _sorted_out(out, config, read, repair)


def verify_all(
    out: Place, listed: Mapping[str, Sequence[range]], *, repair: bool = True
) -> Iterator[tuple[dict[range, Chunk], list[str]]]:
    """Verify the chunks of several configs, in their order; at an address many are read at once."""
    if isinstance(out, Path):
        yield from (verify(out, config, have, repair=repair) for config, have in listed.items())
        return
    configs = list(listed)
    with ThreadPoolExecutor(_READERS) as pool:
        for first in range(0, len(configs), _MANY):  # no more in memory than are soon wanted
            some = configs[first : first + _MANY]
            read = pool.map(_attempt, [chunk_path(out, config, one) for config in some for one in listed[config]])
            for config in some:
                yield _sorted_out(out, config, [(one, next(read)) for one in listed[config]], repair)


def _attempt(path: Place) -> Chunk | StorageError:
    try:
        return read_chunk(path)
    except StorageError as error:
        return error


def _sorted_out(
    out: Place, config: str, read: Iterable[tuple[range, Chunk | StorageError]], repair: bool
) -> tuple[dict[range, Chunk], list[str]]:
    # a file that can't be read, or that another version wrote, stays where it is: its StorageError says why
    whole, sentences = {}, []
    for members, one in read:
        try:
            if isinstance(one, StorageError):
                raise one
            whole[members] = one.select(members)
        except StorageError as error:
            if repair and not isinstance(error, DamagedError):
                raise
            if repair:
                moved = quarantine(out, chunk_path(out, config, members))
                sentences.append(f"{error} It was moved to {moved} and its members are computed again.")
    return whole, sentences


def quarantine(out: Place, path: Place) -> Place:
    """Move a file that can't be used out of the way; nothing is deleted."""
    place = out / "damaged" / f"{path.parent.name}-{path.stem}-{time.strftime('%Y%m%d-%H%M%S')}{path.suffix}"
    return storage.move(path, place)


def save(out: Place, config: str, description: Description, chunk: Chunk, say: Say = lambda _: None) -> Place:
    """Store a chunk under the hash of its config, whole or not at all, with the config in words next to it.

    Where another process has stored the same chunk meanwhile, that one stays, and different numbers are reported.
    """
    path = chunk_path(out, config, chunk.members)
    _save_config(out, path.with_name("config.json"), description, say)
    arrays: dict[str, NDArray[Any]] = {}
    variables: dict[str, dict[str, Any]] = {}
    for name, variable in chunk.record.variables.items():
        variables[str(name)] = {"dims": list(variable.dims)}
        if variable.dtype.kind in "US":
            variables[str(name)]["text"] = variable.values.tolist()
        else:
            arrays[f"{_RECORD}/{name}"] = variable.values
    for epoch, snapshot in chunk.snapshots.items():
        arrays |= {f"{_SNAPSHOT}/{epoch}/{name}": array for name, array in snapshot.items()}
    words = {
        "format": _FORMAT,
        "config": config,
        "members": [chunk.members.start, chunk.members.stop],
        "variables": variables,
        "coordinates": [str(name) for name in chunk.record.coords],
        "attributes": dict(chunk.record.attrs),
        "provenance": dict(chunk.provenance),
    }
    if not _is_stored(out, path, arrays, words, say):
        storage.write(path, _seal(arrays, words))
    storage.delete(path.with_name(path.stem + _FAILED))
    return path


def _save_config(out: Place, path: Place, description: Description, say: Say) -> None:
    """Write a config in words, also in place of a damaged one."""
    content = json.dumps(description, indent=1, sort_keys=True).encode()
    if storage.exists(path):
        with suppress(ValueError, RecursionError):
            if json.loads(storage.read(path)) == json.loads(content):
                return
        say(f"{path} is damaged: it was moved to {quarantine(out, path)} and written again.")
    storage.write(path, content)


def _is_stored(out: Place, path: Place, arrays: Arrays, words: Mapping[str, Any], say: Say) -> bool:
    """Whether a chunk is stored already; other numbers are an error unless another machine computed them."""
    if not storage.exists(path):
        return False
    try:
        others, other_words = _unseal(path)
    except DamagedError as error:
        say(f"{error} It was moved to {quarantine(out, path)} and written again.")
        return False
    if _digest(others, _same(other_words)) != _digest(arrays, _same(words)):
        first, second = (_machine(one) for one in (other_words, words))
        sentence = f"{path} was computed twice with different numbers"
        if first == second:
            remedy = "expected a network and measurements that draw no random numbers of their own"
            raise StorageError(f"{sentence} on the same processor ({first[0]}): {remedy}. The first are kept.")
        on = f"on {first[0]} and {second[0]}" if first[0] != second[0] else "with other versions or another device"
        say(f"{sentence} {on}, which round differently; the first are kept.")
    return True


def _same(words: Mapping[str, Any]) -> str:
    """What two computations of one chunk have in common besides their numbers."""
    return json.dumps([words.get(name) for name in ("members", "variables", "coordinates")], sort_keys=True)


def _machine(words: Mapping[str, Any]) -> tuple[str, str]:
    """The processor, and all else that numbers may depend on."""
    known = words.get("provenance") or {}
    rest = {name: known.get(name) for name in ("versions", "python", "device", "threads", "backend")}
    return str(known.get("processor", "an unknown processor")), json.dumps(rest, sort_keys=True)


def read_chunk(path: Place) -> Chunk:
    """Read a chunk and check that it is what was stored."""
    arrays, words = _unseal(path)
    try:
        if words.get("format") != _FORMAT:
            raise ValueError(f"format {words.get('format')}")
        variables = {
            name: (tuple(one["dims"]), np.array(one["text"]) if "text" in one else arrays[f"{_RECORD}/{name}"])
            for name, one in words["variables"].items()
        }
        named = tuple((name, *variables.pop(name)) for name in words["coordinates"])
        content = tuple((name, dims, one.dtype.str, one.shape, one.tobytes()) for name, dims, one in named)
        record = xr.Dataset(variables, _coordinates(content), words["attributes"])
        snapshots: dict[int, dict[str, NDArray[Any]]] = {}
        for key, array in arrays.items():
            if key.startswith(f"{_SNAPSHOT}/"):
                _, epoch, name = key.split("/", 2)
                snapshots.setdefault(int(epoch), {})[name] = array
        members = range(*words["members"])
        rows = [record.sizes["member"], *(len(one) for named in snapshots.values() for one in named.values())]
        if {*rows} != {len(members)} or record["member"].values.tolist() != [*members]:
            raise ValueError(f"members {members}")
        return Chunk(members, record, dict(sorted(snapshots.items())), words["provenance"])
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        remedy = "use the version of Bathymetry that wrote it, or another folder"
        raise StorageError(f"{path} is whole but no chunk that this version understands: {remedy}.") from error


@lru_cache(256)
def _coordinates(content: tuple[tuple[str, tuple[str, ...], str, tuple[int, ...], bytes], ...]) -> xr.Coordinates:
    """Make coordinates, once for all chunks that have the same: their indexes take most of the time of reading one."""
    named = {
        name: (dims, np.frombuffer(numbers, dtype).reshape(shape)) for name, dims, dtype, shape, numbers in content
    }
    return xr.Dataset(coords=named).coords


def path_of_id(out: Place, identity: str) -> Place:
    """Where the chunk of a job is stored, whose id is its config's hash and its members."""
    return out / CHUNKS / f"{identity}.safetensors"


def failures(out: Place, config: str) -> dict[range, str]:
    """The ranges of members that failed, with the error of each."""
    found = {}
    for name in storage.names(out / CHUNKS / config):
        if one := _FAILED_NAME.fullmatch(name):
            path = out / CHUNKS / config / name
            try:
                found[range(int(one[1]), int(one[2]) + 1)] = str(json.loads(storage.read(path))["error"])
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise DamagedError(f"{path} is damaged: it can't be read as what it should be.") from error
    return found


def save_failure(out: Place, identity: str, error: str, traceback: str) -> None:
    """Keep why members could not be trained; storing them removes it."""
    words = {"error": error, "traceback": traceback, "time": time.strftime("%Y-%m-%d %H:%M:%S")}
    storage.write(out / CHUNKS / f"{identity}{_FAILED}", json.dumps(words, indent=1).encode())


def checkpoint_path(chunk: Place) -> Place:
    return chunk.with_suffix(".checkpoint")


def write_checkpoint(path: Place, arrays: Arrays, state: Mapping[str, Any], stack: Sequence[str] = ()) -> None:
    """Store what a training needs to go on, next to the first of the chunks that it makes together."""
    storage.write(path, _seal(arrays, {"config": path.parent.name, "stack": list(stack), "state": state}))


def read_checkpoint(path: Place, stack: Sequence[str] = ()) -> tuple[Mapping[str, Any], Mapping[str, Any]] | None:
    """Read the arrays and state of a checkpoint; None if there is none, or if it is of other chunks than these."""
    if not storage.exists(path):
        return None
    arrays, words = _unseal(path)
    if not {"config", "stack", "state"} <= words.keys():
        raise DamagedError(f"{path} is no checkpoint of this version.")
    return (arrays, words["state"]) if not stack or words["stack"] == list(stack) else None


def _seal(arrays: Arrays, words: Mapping[str, Any]) -> bytes:
    """Pack arrays and words together with their digest."""
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    text = json.dumps(words, sort_keys=True)
    return safetensors.numpy.save(whole, metadata={"words": text, "digest": _digest(whole, text)})


def _unseal(path: Place) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read a sealed file and check its digest, and that it is of the config that its folder is named by."""
    if isinstance(path, Path) and path.is_dir():
        raise DamagedError(f"{path} is damaged: it is a folder.")
    content = storage.read(path)
    try:
        arrays = safetensors.numpy.load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
        text, expected = header["words"], header["digest"]
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise DamagedError(f"{path} is damaged: it can't be read as what it should be.") from error
    if _digest(arrays, text) != expected:
        raise DamagedError(f"{path} is damaged: its content does not have the digest that it was stored with.")
    try:
        words = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{path} is damaged: what it says of its numbers can't be read.") from error
    words = words if isinstance(words, dict) else {}
    config = words.get("config", path.parent.name)  # which chunks of earlier versions don't have
    if config != path.parent.name:
        raise DamagedError(f"{path} is damaged: it belongs to another config, {abridged(str(config))}.")
    return arrays, words


def _digest(arrays: Arrays, text: str) -> str:
    state = hashlib.blake2b(text.encode(), digest_size=16)
    for name in sorted(arrays):
        array = arrays[name]
        state.update(f"{name}{array.dtype.str}{array.shape}".encode())
        state.update(np.ascontiguousarray(array).data if array.size else b"")
    return state.hexdigest()
