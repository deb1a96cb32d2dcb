"""From the records of many ensembles to one labelled dataset a group."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from bathymetry.studies.plan import Coordinate

if TYPE_CHECKING:  # so that listing the studies need not wait for it
    import xarray as xr

Placed: TypeAlias = "tuple[Mapping[str, Coordinate], xr.Dataset]"


def assemble(groups: Mapping[str, Sequence[Placed]], attributes: Mapping[str, Any]) -> "xr.DataTree":
    """Put records together along their coordinates, in the order of the plan.

    Args:
        groups: For each group ("" for the results proper) the records with their coordinates.
        attributes: What to say of the whole, plain JSON.

    Returns:
        A tree with a dataset for each group; NaN where a combination was not planned. A group's axes that differ from
        those of the results proper carry the group's name before their own.
    """
    import xarray as xr

    tree = xr.DataTree()
    for name, placed in sorted(groups.items(), key=lambda one: one[0] != ""):
        dims = list(dict.fromkeys(dim for coordinates, _ in placed for dim in coordinates))
        dataset = _joined([(dict(coordinates), record.drop_attrs()) for coordinates, record in placed], dims)
        if name:
            tree[name] = xr.DataTree(_told_apart(dataset, name, tree.to_dataset()))
        else:
            tree.dataset = dataset
    tree.attrs = dict(attributes)
    return tree


def group_of(results: "xr.DataTree", name: str) -> "xr.Dataset":
    """Take a group by itself.

    Args:
        results: A study's results.
        name: The group's.

    Returns:
        The group, its axes without its name before their own.
    """
    whole = results.children[name].to_dataset()
    own = [str(one) for one in whole.variables if str(one).startswith(f"{name}_")]
    names = {one: one.removeprefix(f"{name}_") for one in own}
    alone: xr.Dataset = whole.drop_vars(list(names.values()), errors="ignore").rename(names)
    return alone


def put_group(results: "xr.DataTree", name: str, group: "xr.Dataset") -> None:
    """Put a group back that was taken by itself.

    Args:
        results: A study's results, which get it in the place of what they had.
        name: The group's.
        group: The group, its axes under their plain names.
    """
    results.children[name].dataset = _told_apart(group, name, results.to_dataset())


def _told_apart(group: "xr.Dataset", name: str, above: "xr.Dataset") -> "xr.Dataset":
    """Rename a group's axes that are not those of the results above it: `epoch` of `long` becomes `long_epoch`."""
    shared = [one for one in group.coords if one in above.coords]
    other = [one for one in shared if not group[one].identical(above[one])]
    return group.rename({one: f"{name}_{one}" for one in other})


def _joined(placed: Sequence[Placed], dims: Sequence[str]) -> "xr.Dataset":
    if not dims:
        return placed[0][1]
    import xarray as xr

    along, rest = dims[0], dims[1:]
    values = list(dict.fromkeys(coordinates[along] for coordinates, _ in placed))
    pieces = [_joined([one for one in placed if one[0][along] == value], rest) for value in values]
    labelled = [piece.expand_dims({along: [value]}) for piece, value in zip(pieces, values, strict=True)]
    if len(labelled) == 1:
        return labelled[0]
    joined = xr.concat(labelled, dim=along, join="outer", coords="minimal", compat="override", data_vars="all")
    return joined.reindex({dim: _in_order(labelled, dim) for dim in rest}) if rest else joined


def _in_order(pieces: "Sequence[xr.Dataset]", dim: str) -> list[Any]:
    return list(dict.fromkeys(value for piece in pieces for value in piece[dim].values.tolist()))
