"""Reading YAML that a user writes: plain texts, numbers and lists, and nothing that runs code or grows without end."""

import os
import re
from pathlib import Path
from typing import Any

import yaml

from bathymetry.core.errors import InputError, first_line
from bathymetry.store.storage import read

_MOST_BYTES = 1_000_000


class PlainLoader(yaml.SafeLoader):  # type: ignore[misc]
    """Reads 1e-3 as a number."""


PlainLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


class _Loader(PlainLoader):
    """Refuses what a specification has no use for."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise InputError("specification", f"*{self.peek_event().anchor}", "expected values written out, no aliases")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [one.value for one, _ in node.value if isinstance(one, yaml.ScalarNode)]
        for key in keys:
            if keys.count(key) > 1:
                raise InputError("specification", key, "this field is there twice; expected each once")
        made: dict[Any, Any] = super().construct_mapping(node, deep)
        return made


def read_yaml(path: Path, field: str) -> Any:
    """Read a file of plain texts, numbers and lists."""
    if not os.path.isfile(path):
        raise InputError(field, path, "it is not a file" if os.path.exists(path) else "there is no such file")
    content = read(path)
    if len(content) > _MOST_BYTES:
        raise InputError(field, path, f"it has {len(content):,} bytes; expected at most {_MOST_BYTES:,}")
    try:
        return yaml.load(content, _Loader)
    except InputError as error:
        raise InputError(error.field if field == "spec" else field, error.value, error.remedy) from error
    except yaml.constructor.ConstructorError as error:
        tag = re.search(r"tag '([^']*)'", str(error))
        what = f"it has the tag {tag[1].replace('tag:yaml.org,2002:', '!!')}" if tag else f"it has a {error.problem}"
        remedy = "expected plain texts, numbers and lists"
        raise InputError(field, path, f"{what.replace('a found', 'an')}; {remedy}") from error
    except RecursionError as error:
        raise InputError(field, path, "it is nested too deeply; expected lists of lists at most") from error
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise InputError(field, path, f"it is not valid YAML ({line}{error.problem})") from error
    except (AttributeError, KeyError) as error:  # of PyYAML, for a value that its tag does not fit
        remedy = "a value does not fit its tag; expected plain texts, numbers and lists"
        raise InputError(field, path, remedy) from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise InputError(field, path, f"it can't be read ({first_line(error)})") from error
