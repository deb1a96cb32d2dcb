"""A run's settings where no tool says them with the metrics: from files in its folder, or from the folder's name."""

import json
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import yaml

from bathymetry.core import system
from bathymetry.core.errors import StorageError
from bathymetry.runs.run import Scalar, flat, note_of

FILES = ("hparams.yaml", "config.yaml", "config.json", "params.json")
_MOST_BYTES = 500_000
_MOST_ALIASES = 20  # a few more and a short text stands for a mapping of any size
_COUNTERS = ("version", "run", "trial", "job", "exp", "experiment")  # "version_3" is the third run, not a setting


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


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
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
    """Read settings from the levels of a path, as in "optimizer=adam,seed=3" or "seed_3/lr_0.1".

    >>> from_name("optimizer=adam/seed_3")
    {'optimizer': 'adam', 'seed': 3}
    """
    config: dict[str, Scalar] = {}
    for part in re.split(r"[/,]", PurePosixPath(name).as_posix()):
        key, equals, value = part.partition("=")
        if equals and key:
            config[key] = parsed(value)
        elif (match := re.fullmatch(r"([A-Za-z]+)_(-?\d[\d.e-]*)", part)) and match[1].lower() not in _COUNTERS:
            config[match[1]] = parsed(match[2])
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
    return (value == other and isinstance(value, bool) == isinstance(other, bool)) or str(value) == str(other)
