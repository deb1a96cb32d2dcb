"""What the operating system gives: whole files, memory, threads and signals."""

import ctypes
import os
import platform
import resource
import signal
import stat
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar

from bathymetry.core.errors import DamagedError, InputError, StorageError

_CGROUP = Path("/sys/fs/cgroup")
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_UNFINISHED = ".unfinished-"
_OUT_OF_MEMORY = ("allocat", "bad_alloc", "failed to map", "map segment", "start new thread")


def put(path: Path, content: bytes) -> None:
    """Write a file and its folders in one step: whatever is killed and whenever, the file is whole, old or absent."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=_UNFINISHED, dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StorageError(f"{path} can't be written ({error.strerror or error}): choose a folder that can.") from error


def return_free_memory() -> None:
    """Return freed memory to the operating system: glibc keeps what lies between blocks that are in use."""
    with suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def get(path: Path) -> bytes:
    """Read a file; a pipe or device, which could block for ever, counts as damaged."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            kind = "a named pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
            raise DamagedError(f"{path} can't be read (it is {kind} instead of an ordinary file).")
        return path.read_bytes()
    except FileNotFoundError as error:
        cause = "it is a link that leads nowhere" if path.is_symlink() else "there is no such file"
        raise StorageError(f"{path} can't be read ({cause}).") from error
    except OSError as error:
        raise StorageError(f"{path} can't be read ({error.strerror or error}).") from error


def names(folder: Path) -> list[str]:
    """List the names in a folder, sorted, without unfinished files; a folder that does not exist is empty."""
    try:
        entries = os.listdir(folder)
    except FileNotFoundError:
        if folder.is_symlink():
            raise StorageError(f"{folder} can't be read (it is a link that leads nowhere).") from None
        return []
    except NotADirectoryError as error:
        raise StorageError(f"{folder} can't be read (it is no folder): move it away.") from error
    except OSError as error:
        raise StorageError(f"{folder} can't be read ({error.strerror or error}).") from error
    return sorted(entry for entry in entries if not entry.startswith(_UNFINISHED))


def available_cores() -> int:
    """Count the cores that this process may use."""
    with suppress(AttributeError):  # not every system says
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def processor() -> str:
    """Name the model of the processor."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def free_bytes() -> int:
    """Compute what the machine, the container and `ulimit -v` leave this process; 2⁶² where nothing is known."""
    known = [2**62]
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        known.append(1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")))
    with suppress(OSError, ValueError):  # a container without a limit says "max"
        limit, used = (int((_CGROUP / name).read_text()) for name in ("memory.max", "memory.current"))
        known.append(limit - used)
    with suppress(OSError, ValueError):
        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
            known.append(limit - used)
    return max(0, min(known))


def gigabytes(count: float) -> str:
    """Write a number of bytes in gigabytes, or megabytes below one."""
    count = float(min(count, 10**30))  # larger whole numbers may be beyond floats
    if count < 1e9:
        return f"{max(1, round(count / 1e6))} MB"
    return f"{count / 1e9:.2g} GB" if count < 1e11 else f"{count / 1e9:,.0f} GB"


def check_memory(field: str, value: object, needed: int, what: str, remedy: str) -> None:
    if needed > (free := free_bytes()):
        raise InputError(field, value, f"{what} {gigabytes(needed)} and there are {gigabytes(free)}; {remedy}")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error comes from memory or addresses that ran out, in Python, PyTorch, C++ or the dynamic linker."""
    known = isinstance(error, RuntimeError | ImportError) and any(word in str(error) for word in _OUT_OF_MEMORY)
    return isinstance(error, MemoryError) or known


@contextmanager
def memory_for(field: str, value: object) -> Iterator[None]:
    """Turn running out of memory inside the block into an InputError about an argument."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # NumPy raises the first, PyTorch the second
        if isinstance(error, RuntimeError) and "allocate memory" not in str(error):
            raise
        raise InputError(field, value, "there is not enough memory for it; free some, or ask for less") from error


_BACKENDS = (  # settings that change rounding, with their defaults
    ("fp32_precision", "none", "ieee"),
    ("mkldnn.fp32_precision", "none", "ieee"),
    ("mkldnn.matmul.fp32_precision", "none", "ieee"),
    ("mkldnn.conv.fp32_precision", "none", "ieee"),
    ("mkldnn.rnn.fp32_precision", "none", "ieee"),
    ("cuda.matmul.fp32_precision", "none", "ieee"),
    ("mkldnn.enabled", True),
    ("cudnn.enabled", True),
    ("cudnn.benchmark", False),
)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread and PyTorch's default settings inside the block."""
    import torch

    before = torch.get_num_threads()
    with _controller().limit(limits=1), default_settings():
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)


@contextmanager
def default_settings() -> Iterator[None]:
    """Use PyTorch's default settings inside the block, because they are not part of a stored config.

    float32 products have full precision, backends choose their own kernels, gradients are enabled, autocast is off, and
    tensors are made on the CPU, whatever the calling script has set.
    """
    import torch

    with ExitStack() as stack:
        precision = "highest"
        with suppress(RuntimeError):  # which PyTorch raises where it was set by backend
            precision = torch.get_float32_matmul_precision()
        if precision != "highest":
            stack.callback(torch.set_float32_matmul_precision, precision)
            torch.set_float32_matmul_precision("highest")
        for owner, name, default in _changed_backends():
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, default)
        stack.enter_context(torch.inference_mode(mode=False))
        stack.enter_context(torch.enable_grad())
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        yield


def _changed_backends() -> Iterator[tuple[Any, str, object]]:
    """The settings in `_BACKENDS` that differ from their defaults: owner, name, default.

    Each is read after those before it have been reset, from which it may inherit its value.
    """
    import torch

    for path, *defaults in _BACKENDS:
        *owners, name = path.split(".")
        owner: Any = torch.backends
        for part in owners:
            owner = getattr(owner, part, None)
        if getattr(owner, name, defaults[0]) not in defaults:
            yield owner, name, defaults[0]


@cache
def _controller() -> Any:
    # once, for looking through the libraries that are loaded takes longer than many a measurement
    import numpy  # noqa: F401 - it and SciPy bring linear algebra of their own
    import scipy.linalg  # noqa: F401
    import threadpoolctl

    return threadpoolctl.ThreadpoolController()


class Terminated(KeyboardInterrupt):
    """The process received SIGTERM: like Ctrl-C, with another exit status."""


class HeldSignals:
    """Hold back the first signal that asks to stop inside the block, in the main thread; nested blocks join in."""

    _outermost: ClassVar["HeldSignals | None"] = None

    def __init__(self) -> None:
        self.received: int | None = None
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> "HeldSignals":
        if threading.current_thread() is not threading.main_thread():
            return self
        if HeldSignals._outermost is None:
            HeldSignals._outermost = self
            for number in _SIGNALS:
                before = signal.getsignal(number)
                if before not in (None, signal.SIG_IGN):
                    self._handlers[number] = before
                    signal.signal(number, self._hold)
        return HeldSignals._outermost

    def __exit__(self, *_: object) -> None:
        if HeldSignals._outermost is self:
            self.release()

    def release(self) -> None:
        """Restore the handlers, and raise the signal that came."""
        for number, before in self._handlers.items():
            signal.signal(number, before)
        self._handlers = {}
        if HeldSignals._outermost is self:
            HeldSignals._outermost = None
        received, self.received = self.received, None
        if received is not None:
            signal.raise_signal(received)

    def _hold(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - as signals call it
        second, self.received = self.received is not None, number
        if second:
            self.release()
