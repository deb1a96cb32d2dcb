"""Provenance: what a number does not depend on but a reader may want to know."""

import os
import platform
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

_PACKAGES = ("bathymetry", "torch", "numpy", "scipy", "xarray", "pydantic", "altair")


def provenance(device: str) -> Mapping[str, Any]:
    """Write down versions, threads, processor and device.

    Args:
        device: Where the tensors lie.

    Returns:
        Plain JSON.
    """
    import torch

    return {
        "versions": {name: version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _processor() -> str:
    if sys.platform == "linux":
        try:
            with open("/proc/cpuinfo", encoding="utf-8") as lines:
                for line in lines:
                    if line.startswith("model name"):
                        return line.partition(":")[2].strip()
        except OSError:
            pass
    return platform.processor() or platform.machine()
