"""How much a program may use, and what stands in for the kernel where it offers nothing."""

from __future__ import annotations

import resource
import sys
from dataclasses import dataclass
from typing import Any

MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Limits:
    """seconds: of the processor, and on the clock from start to end; memory_mib: of address space; file_mib: written in all;
    processes: threads included; files: open at once."""

    seconds: float = 10.0
    memory_mib: int = 1024
    file_mib: int = 16
    processes: int = 32
    files: int = 64

    def apply(self) -> None:
        """Limit this process for good. Raises ``OSError`` or ``ValueError`` where the system refuses."""
        most = int(self.seconds) + 1
        wanted = {
            # Process 1 of a namespace ignores the soft limit's signal, not the hard one's.
            resource.RLIMIT_CPU: (most, most),
            resource.RLIMIT_AS: (self.memory_mib * MIB,) * 2,
            resource.RLIMIT_FSIZE: (self.file_mib * MIB,) * 2,
            resource.RLIMIT_NPROC: (self.processes,) * 2,
            resource.RLIMIT_NOFILE: (self.files,) * 2,
            resource.RLIMIT_CORE: (0, 0),
            resource.RLIMIT_STACK: (64 * MIB,) * 2,
        }
        for which, (soft, hard) in wanted.items():
            most_allowed = resource.getrlimit(which)[1]
            if most_allowed != resource.RLIM_INFINITY:
                soft, hard = min(soft, most_allowed), min(hard, most_allowed)
            resource.setrlimit(which, (soft, hard))


REFUSED = (
    *("socket.", "subprocess.", "ctypes.", "shutil.", "ftplib.", "smtplib.", "urllib.", "pty."),
    *("os.fork", "os.exec", "os.posix_spawn", "os.spawn", "os.system", "os.kill", "os.putenv", "os.chmod", "os.chown"),
    *(
        "os.link",
        "os.symlink",
        "os.rename",
        "os.remove",
        "os.rmdir",
        "os.mkdir",
        "os.truncate",
        "os.utime",
        "os.setxattr",
    ),
    *(
        "signal.pthread_kill",
        "sys._current_frames",
        "fcntl.",
        "mmap.",
        "resource.setrlimit",
        "os.listdir",
        "os.scandir",
    ),
)
"""Beginnings of the names of Python's audit events that a program may not cause."""


def refuse_in_python(readable: tuple[str, ...]) -> None:
    """Forbid through Python's audit events what the kernel does not forbid here; a hook cannot be taken out again.

    Weaker than the kernel: whoever breaks out of the interpreter, through a fault in it, is not held. ``readable``: folders
    of which files may be read, in which imports are found.
    """

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            _check_open(readable, *arguments[:3])
        elif event.startswith(REFUSED) and not (
            event in ("os.listdir", "os.scandir") and _inside(arguments[0], readable)
        ):
            raise PermissionError(f"{event} is not allowed in the sandbox")

    sys.addaudithook(audit)


def _inside(path: Any, folders: tuple[str, ...]) -> bool:
    text = path.decode("utf-8", "surrogateescape") if isinstance(path, bytes) else str(path)
    return ".." not in text and any(text == folder or text.startswith(f"{folder}/") for folder in folders)


def _check_open(readable: tuple[str, ...], path: Any, mode: Any, flags: Any) -> None:
    writes = bool(isinstance(flags, int) and flags & 0o3) or any(letter in str(mode or "") for letter in "wax+")
    if isinstance(path, int) or writes or not _inside(path, readable):
        raise PermissionError(f"opening {path!r} is not allowed in the sandbox")
