"""A run's settings where no tool says them with the metrics: from files in its folder, or from the folder's name."""

import json
import re
from collections.abc import Iterable, Sequence, Set
from dataclasses import replace
from pathlib import Path, PurePosixPath

import yaml

from bathymetry.core import system
from bathymetry.core.errors import StorageError
from bathymetry.runs.run import Run, Scalar, flat, note_of
from bathymetry.store.yaml_files import PlainLoader

FILES = ("hparams.yaml", "config.yaml", "config.json", "params.json")
_MOST_BYTES = 500_000
_MOST_ALIASES = 20  # a few more and a short text stands for a mapping of any size
# "name_3" may be the third run of anything, so that only these are settings
_COUNTED = re.compile(
    r"(?P<key>(?:[A-Za-z]+[_-])?(?:seed|lr|rate|decay|momentum|dropout|size|dim|width|depth|layers|fold|split))"
    r"[_-]?(?P<value>[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)",
    re.IGNORECASE,
)
_NAMED = re.compile(r"(?P<name>.+?)[-+ ;&]+(?P<key>[A-Za-z][\w.]*)")  # "adam-lr=0.1-seed=3"
# what is between two equals signs, as in "lr=0.1_batch_size=32"
_NEXT_AFTER_NUMBER = re.compile(r"(?P<value>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)[-_+ ;&]+(?P<key>[A-Za-z][\w.]*)")
# after text the key is the last word, with the word before it where that is usual
_NEXT = re.compile(
    r"(?P<value>.+?)[-_+ ;&]+(?P<key>(?:[A-Za-z]+_(?=(?:size|rate|decay|state|dim)$)"
    r"|(?:num|n|max|min|random|data)_(?=[A-Za-z0-9]+$))?[A-Za-z][A-Za-z0-9.]*)"
)
NAMES = (
    "columns, files such as config.yaml, or names of files or folders such as optimizer=adam,lr=0.1,seed=3 "
    "(also with _, - or + between the pairs) or seed_3"
)


def from_files(files: Iterable[Path]) -> tuple[dict[str, Scalar], list[str]]:
    """Read those files that hold settings, and note those that can't be read."""
    config: dict[str, Scalar] = {}
    notes = []
    for path in files:
        if path.name in FILES:
            try:
                config |= from_file(path)
            except StorageError as error:
                notes.append(note_of(error))
    return config, notes


def from_file(path: Path) -> dict[str, Scalar]:
    """Read a mapping from YAML or JSON; nothing in the file is executed."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise StorageError(f"{path} is larger than {_MOST_BYTES // 1000} kB, too large for settings.")
        content = system.get(path).decode()
        return flat((json.loads(content) if path.suffix == ".json" else yaml.load(content, _Loader)) or {})
    except OSError as error:
        raise StorageError(f"{path} can't be read: {error.strerror}.") from error
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError) as error:
        kind = path.suffix[1:].upper()
        raise StorageError(f"{path} holds no settings: expected one mapping in {kind}.") from error


class _Loader(PlainLoader):
    """Reads objects of Python or of other programs as the mapping, list or text that they are written as."""

    aliases = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Refuse what would grow without end."""
        self.aliases += self.check_event(yaml.AliasEvent)
        if self.aliases > _MOST_ALIASES:
            raise yaml.YAMLError("too many aliases")
        node: yaml.Node | None = super().compose_node(parent, index)
        return node

    def as_written(self, node: yaml.Node) -> object:
        """Leave out the type."""
        if isinstance(node, yaml.MappingNode):
            return self.construct_mapping(node, deep=True)
        if isinstance(node, yaml.SequenceNode):
            return self.construct_sequence(node, deep=True)
        return self.construct_scalar(node)


_Loader.add_constructor(None, _Loader.as_written)


def from_name(name: str) -> dict[str, Scalar]:
    """Read settings from the levels of a path, as in "optimizer=adam,seed=3", "net=cnn_lr=0.1" or "seed_3".

    >>> from_name("optimizer=adam_batch_size=32/seed_3")
    {'optimizer': 'adam', 'batch_size': 32, 'seed': 3}
    """
    config: dict[str, Scalar] = {}
    for part in re.split(r"[/,]", PurePosixPath(name).as_posix()):
        key, *rest = part.lstrip("+").split("=")
        if rest and key:
            if len(rest) > 1 and (match := _NAMED.fullmatch(key)):
                config["name"], key = match["name"], match["key"]
            for between in rest[:-1]:
                match = _NEXT_AFTER_NUMBER.fullmatch(between) or _NEXT.fullmatch(between)
                if match is None:  # "a=b=c"
                    break
                config[key], key = parsed(match["value"]), match["key"]
                rest = rest[1:]
            config[key] = parsed("=".join(rest))
        elif match := _COUNTED.fullmatch(part):
            config[match["key"]] = parsed(match["value"])
    return config


def parsed(text: str) -> Scalar:
    """Read a value as a number or truth value if it is one."""
    if text in ("true", "True", "false", "False"):
        return text in ("true", "True")
    for kind in (int, float):
        try:
            return kind(text) if "_" not in text else text
        except ValueError:
            continue
    return text


def is_same(value: Scalar, other: Scalar) -> bool:
    """Whether a value that was typed is that of a run: 3 is "3" and 0.10 is 0.1, and true is not 1."""
    one, another = unified([value, other])
    return one == another


def unified(values: Sequence[Scalar]) -> list[Scalar]:
    """Spell values of one setting that are equal in one way, so that different ones are different as text, too.

    Next to a number the text of a number is that number, as YAML and JSON disagree on which is which; what is still of
    several kinds becomes text.

    >>> unified([1.0, "1", 0.5]), unified([1, "1", True]), unified(["1", "01"])
    ([1, 1, 0.5], ['1', '1', 'True'], ['1', '01'])
    """
    kinds = {type(one) for one in values}
    if kinds in ({int}, {str}, {bool}):
        return list(values)
    found = [_plain(_read_next_to(kinds, one) if isinstance(one, str) else one) for one in values]
    left = {float if isinstance(one, int) and not isinstance(one, bool) else type(one) for one in found}
    if len(left - {type(None)}) < 2:
        return found
    return [None if one is None else str(one) for one in found]


def _read_next_to(kinds: Set[type], text: str) -> Scalar:
    """Read a text as a value of one of these kinds if it is one; a number with leading zeros is a name."""
    value = parsed(text)
    is_name = re.fullmatch(r"\s*[-+]?0\d+\s*", text)
    is_number = type(value) in (int, float) and not is_name and not kinds.isdisjoint({int, float})
    if is_number or (isinstance(value, bool) and bool in kinds):
        return value
    return None if text == "None" and type(None) in kinds else text


def _plain(value: Scalar) -> Scalar:
    """Spell whole numbers without a point; NaN is equal to nothing, not even to itself, but its text is."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
        return int(value)
    return "nan" if value != value else value


def with_one_spelling(runs: Sequence[Run]) -> tuple[Run, ...]:
    """Spell equal values of a setting alike in all runs."""
    having: dict[str, list[int]] = {}
    for place, one in enumerate(runs):
        for name in one.config:
            having.setdefault(name, []).append(place)
    changed: dict[int, dict[str, Scalar]] = {}
    for name, places in having.items():
        before = [runs[place].config[name] for place in places]
        for place, old, new in zip(places, before, unified(before), strict=True):
            if type(old) is not type(new) or old != new:
                changed.setdefault(place, {})[name] = new
    return tuple(
        replace(one, config={**one.config, **changed[place]}) if place in changed else one
        for place, one in enumerate(runs)
    )
