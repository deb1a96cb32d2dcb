"""Joint measurements: functions of the parameters of several ensembles, stored and named like a unit."""

import time
from collections.abc import Sequence
from pathlib import Path

from bathymetry.core.identity import Description, describe
from bathymetry.core.threads import one_thread
from bathymetry.store import Unit, collect, keep, read_unit, setting_hash, unit_path
from bathymetry.store.machine import provenance
from bathymetry.studies.plan import JointMeasurement


def joint_description(measurement: JointMeasurement, names: Sequence[str]) -> Description:
    """Describe a measurement by all that decides its numbers.

    Args:
        measurement: The measurement.
        names: The hashes of its ensembles' settings.

    Returns:
        The description.
    """
    of = [{"setting": name, "members": describe(one.members)} for name, one in zip(names, measurement.of, strict=True)]
    return describe({"joint measurement": measurement.function, "of": of})


def joint(measurement: JointMeasurement, names: Sequence[str], out: Path, device: str) -> Unit:
    """Make a measurement over several ensembles, or read it if it is stored.

    Args:
        measurement: The measurement.
        names: The hashes of its ensembles' settings.
        out: The output folder.
        device: Where it computes, for the provenance.

    Returns:
        Its record, as a unit without snapshots.
    """
    description = joint_description(measurement, names)
    name, members = setting_hash(description), measurement.of[0].members
    path = unit_path(out, name, members)
    if not path.exists():
        begun = time.perf_counter()
        units = [collect(out, one, ensemble.members) for one, ensemble in zip(names, measurement.of, strict=True)]
        with one_thread():
            record = measurement.function(units)
        machine = {**provenance(device), "seconds": time.perf_counter() - begun}
        keep(out, name, description, Unit(members, record, {}, machine))
    return read_unit(path)
