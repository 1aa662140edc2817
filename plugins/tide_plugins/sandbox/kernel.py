"""What Linux offers to shut a process in: namespaces, a root of its own, an unprivileged user. Called through ctypes."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Iterable
from pathlib import Path

NOBODY = 65534
NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND, REC, PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
DETACH = 2
PDEATHSIG, DUMPABLE, NO_NEW_PRIVS, SECCOMP = 1, 4, 38, 22
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
KEPT_FLAGS = {2: NOSUID, 4: NODEV, 8: NOEXEC, 1024: 1024, 2048: 2048, 4096: 1 << 21}
"""Flags of a mount as ``statvfs`` tells them -> as ``mount`` wants them; a user namespace may not take them off."""
WORK = "/tmp"
"""The only place that can be written to, inside."""


def libc() -> ctypes.CDLL:
    """Return the C library, with ``errno`` kept."""
    return ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: int | bytes | None) -> None:
    """Call a function of the C library that returns 0. Raises ``OSError``."""
    if getattr(libc(), name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def prctl(option: int, value: int) -> None:
    """Set an attribute of this process."""
    call("prctl", option, ctypes.c_ulong(value), 0, 0, 0)  # type: ignore[arg-type]


def enter_namespaces() -> None:
    """Leave the caller's network, mounts, processes (from the next fork on), semaphores and host name.

    An unprivileged user needs a user namespace for that. Raises ``OSError`` where the system does not allow one.
    """
    alone = NEWNS | NEWUTS | NEWIPC | NEWPID | NEWNET
    if os.geteuid() == 0:
        call("unshare", alone)
        return
    user, group = os.getuid(), os.getgid()
    call("unshare", alone | NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def enter_empty_root(root: str, work_bytes: int) -> None:
    """Make a root of memory in the folder ``root`` that holds Python and system libraries, read-only, and ``WORK``."""
    mount(None, "/", None, REC | PRIVATE)
    mount("tmpfs", root, "tmpfs", NOSUID | NODEV, "size=1m,mode=755")
    for place in readable():
        _bind(place, root + place)
    work = root + WORK
    Path(work).mkdir(exist_ok=True)
    mount("tmpfs", work, "tmpfs", NOSUID | NODEV | NOEXEC, f"size={work_bytes},nr_inodes=4096,mode=1777")
    os.chdir(root)
    libc().syscall(PIVOT_ROOT[platform.machine()], b".", b".")
    call("umount2", b".", DETACH)
    os.chdir("/")
    mount(None, "/", None, REMOUNT | BIND | RDONLY | NOSUID | NODEV)
    os.chdir(WORK)


def readable() -> list[str]:
    """Return the folders that Python needs: its own, and the system's libraries; none inside another."""
    wanted = {"/usr", "/lib", "/lib64", sys.base_prefix, sys.base_exec_prefix, *sys.path}
    places = sorted({os.path.realpath(place) for place in wanted if place and os.path.isdir(place)}, key=len)
    kept: list[str] = []
    for place in places:
        if place != "/" and not any(place == other or place.startswith(f"{other}/") for other in kept):
            kept.append(place)
    return [*kept, *(link for link in ("/lib", "/lib64") if os.path.islink(link))]


def _bind(place: str, target: str) -> None:
    if os.path.islink(place):
        os.symlink(os.readlink(place), target)
        return
    Path(target).mkdir(parents=True, exist_ok=True)
    mount(place, target, None, BIND | REC)
    flags = os.statvfs(target).f_flag
    kept = sum(ours for theirs, ours in KEPT_FLAGS.items() if flags & theirs)
    mount(None, target, None, REMOUNT | BIND | RDONLY | kept | NOSUID | NODEV)


def mount(source: str | None, target: str, kind: str | None, flags: int, data: str = "") -> None:
    """Mount; see mount(2)."""
    call("mount", _text(source), target.encode(), _text(kind), ctypes.c_ulong(flags), _text(data or None))  # type: ignore[arg-type]


def _text(value: str | None) -> bytes | None:
    return None if value is None else value.encode()


def drop_privileges() -> None:
    """Become nobody (root only), give up every capability for good, and keep others of the same user from looking in."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    call("capset", ctypes.byref(header), ctypes.byref(none))  # type: ignore[arg-type]
    prctl(NO_NEW_PRIVS, 1)
    prctl(DUMPABLE, 0)
    prctl(PDEATHSIG, 9)


def close_all_but(kept: Iterable[int]) -> None:
    """Close every descriptor except ``kept``."""
    last = -1
    for descriptor in [*sorted(kept), os.sysconf("SC_OPEN_MAX")]:
        if last + 1 < descriptor:  # CPython 3.11 takes the empty range from 0 to 0 for everything
            os.closerange(last + 1, descriptor)
        last = descriptor
