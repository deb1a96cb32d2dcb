"""The trained networks of a study, made again from their stored parameters."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bathymetry.core.errors import InputError
from bathymetry.core.networks import running_statistics
from bathymetry.store import collect, config_hash
from bathymetry.studies.plan import Coordinate, Plan, PlannedEnsemble
from bathymetry.studies.study import Study
from bathymetry.training.ensemble import build_members


def stored_networks(
    study: Study, settings: Mapping[str, Any], out: Path, group: str, coordinates: Mapping[str, Coordinate]
) -> list[nn.Module]:
    """Make the networks of one ensemble again.

    Args:
        study: The study.
        settings: Its settings, as they are stored.
        out: The output folder.
        group: The group of the results that the ensemble's records are in.
        coordinates: Its coordinates there.

    Returns:
        A network for each member, in evaluation mode, with the parameters that its training ended with.

    Raises:
        InputError: If no ensemble, or more than one, is there, or a network keeps statistics beside its parameters.
    """
    planned = _ensemble(study.plan(study.settings.model_validate(settings)), group, coordinates)
    config = planned.config
    unit = collect(out, config_hash(config.description()), planned.members)
    modules = build_members(config.network, planned.members, config.seed, same_start=config.same_start)
    kept = running_statistics(modules[0])
    if kept:
        remedy = "its running statistics are not stored with its parameters; expected a network without, or bm.train"
        raise InputError("networks", f"{type(modules[0]).__name__} with {kept[0] or 'normalisation'}", remedy)
    last = unit.snapshots[max(unit.snapshots)]
    for place, module in enumerate(modules):
        own = dict(module.to(config.dtype).named_parameters())
        with torch.no_grad():
            for name, values in last.items():
                own[name].copy_(torch.from_numpy(values[place]))
        module.eval()
    return modules


def _ensemble(plan: Plan, group: str, coordinates: Mapping[str, Coordinate]) -> PlannedEnsemble:
    """Find the one ensemble that has these coordinates."""
    found = [
        one
        for one in plan.ensembles
        if one.group == group and all(one.coordinates.get(name) == value for name, value in coordinates.items())
    ]
    if len(found) == 1:
        return found[0]
    there = "; ".join(_said(one) for one in (found or plan.ensembles)[:12])
    given = ", ".join([*([f"group={group!r}"] if group else []), *(f"{k}={v!r}" for k, v in coordinates.items())])
    remedy = f"{len(found)} ensembles are there; expected the coordinates of one: {there}"
    raise InputError("networks", given or "no coordinates", remedy)


def _said(one: PlannedEnsemble) -> str:
    words = [f"group={one.group!r}"] if one.group else []
    words += [f"{name}={value!r}" for name, value in one.coordinates.items()]
    return ", ".join(words) or "no coordinates"
