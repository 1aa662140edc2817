"""A filter of system calls: no sockets, no new processes, no signals, nothing that looks into or mounts anything."""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
from collections.abc import Sequence

from .kernel import NO_NEW_PRIVS, SECCOMP, call, prctl

FILTER_MODE = 2
LOAD, EQUAL, SET, RETURN = 0x20, 0x15, 0x45, 0x06
ALLOW, KILL, FAIL = 0x7FFF0000, 0x80000000, 0x00050000
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16
THREAD = 0x10000
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
X32 = 0x40000000
"""Bit of the calls of x86-64's 32-bit interface, which have numbers of their own."""
NEW_IN_BOTH = (
    *(424, 425, 426, 427, 428, 429, 430, 431, 432, 433),  # pidfd_send_signal, io_uring, open_tree ... fspick
    *(434, 438, 440, 442, 448),  # pidfd_open, pidfd_getfd, process_madvise, mount_setattr, process_mrelease
)
DENIED: dict[str, tuple[int, ...]] = {
    "x86_64": (
        *(41, 42, 43, 49, 50, 288),  # socket, connect, accept, bind, listen, accept4
        *(57, 58, 59, 322),  # fork, vfork, execve, execveat
        *(62, 200, 234, 129, 297),  # kill, tkill, tgkill, rt_sigqueueinfo, rt_tgsigqueueinfo
        *(101, 310, 311, 312, 298, 321),  # ptrace, process_vm_*, kcmp, perf_event_open, bpf
        *(155, 161, 165, 166, 272, 308),  # pivot_root, chroot, mount, umount2, unshare, setns
        *(248, 249, 250, 323, 246, 320, 175, 313, 169, 303, 304),  # keys, userfaultfd, kexec, modules, reboot, handles
        *(29, 30, 31, 68, 69, 71, 240, 64, 66, 160),  # System V and POSIX queues, setrlimit
    ),
    "aarch64": (
        *(198, 203, 202, 200, 201, 242),
        *(221, 281),
        *(129, 130, 131, 138, 240),
        *(117, 270, 271, 272, 241, 280),
        *(41, 51, 40, 39, 97, 268),
        *(217, 218, 219, 282, 104, 294, 105, 273, 142, 264, 265),
        *(194, 195, 196, 186, 187, 189, 180, 190, 191, 164),
    ),
}
"""Numbers of system calls that fail with EPERM; row by row the same ones, as far as the machine has them."""
CLONE = {"x86_64": 56, "aarch64": 220}
CLONE3 = 435


def install() -> None:
    """Install the filter, for this process and for ever. Raises ``OSError`` where the kernel or the machine has none."""
    machine = platform.machine()
    if machine not in DENIED:
        raise OSError(errno.ENOSYS, f"no filter of system calls is known for {machine}")
    code = b"".join(program(machine))
    buffer = ctypes.create_string_buffer(code, len(code))
    head = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buffer))
    prctl(NO_NEW_PRIVS, 1)
    call("prctl", SECCOMP, ctypes.c_ulong(FILTER_MODE), ctypes.create_string_buffer(head, len(head)), 0, 0)  # type: ignore[arg-type]


def program(machine: str) -> Sequence[bytes]:
    """Return the instructions (struct sock_filter) for a machine."""
    fail, refuse = FAIL | errno.EPERM, FAIL | errno.ENOSYS
    code = [
        _do(LOAD, ARCHITECTURE),
        _do(EQUAL, ARCHITECTURES[machine], 1, 0),
        _do(RETURN, KILL),
        _do(LOAD, NUMBER),
    ]
    if machine == "x86_64":
        code += [_do(SET, X32, 0, 1), _do(RETURN, fail)]
    for number in (*DENIED[machine], *NEW_IN_BOTH):
        code += [_do(EQUAL, number, 0, 1), _do(RETURN, fail)]
    # The C library falls back on clone, whose flags, unlike clone3's, can be read here: a thread is no new process.
    code += [_do(EQUAL, CLONE3, 0, 1), _do(RETURN, refuse)]
    code += [_do(EQUAL, CLONE[machine], 0, 3), _do(LOAD, FIRST_ARGUMENT), _do(SET, THREAD, 1, 0), _do(RETURN, fail)]
    return [*code, _do(RETURN, ALLOW)]


def _do(operation: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", operation, if_true, if_false, value)
