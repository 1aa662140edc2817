"""The processes of the sandbox. Started by ``runner`` in a fresh interpreter; read from ``main`` on.

launcher    leaves the caller's namespaces, and waits
checker     process 1 in there: holds the tests, and the token that proves a pass
candidate   process 1 one level further in: holds the program that is tested, and answers calls through a socket

The candidate is forked before the checker reads tests and token, so that they never are in its memory, and no program of a
model ever runs where the tests run: it can neither patch them nor end them early.
"""

from __future__ import annotations

import builtins
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from typing import Any, cast

from . import filters, kernel
from .limits import Limits, refuse_in_python
from .wire import WireError, decode, encode, receive, send

FILENAME = "candidate.py"
SHOWN = 300
"""Characters of a message that are reported."""


def main() -> None:
    """Run one program that comes in through the standard input, and report on the standard output."""
    sys.path.pop(0)  # where this package was found is no part of Python
    request = receive(0)
    limits = Limits(**request["limits"])
    active: list[str] = []
    if _tried("namespaces", request, active, kernel.enter_namespaces):
        inner = os.fork()
        if inner:
            os.close(0)
            os.close(1)
            os._exit(os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1]) & 0xFF)
        kernel.enter_empty_root(request["root"], limits.file_mib << 20)
    _check(request, limits, active)
    os._exit(0)


def _tried(name: str, request: Mapping[str, Any], active: list[str], enter: Callable[[], None]) -> bool:
    """Use a protection if it is wanted and there is one; note that it holds."""
    if name not in request["protections"]:
        return False
    try:
        enter()
    except (OSError, AttributeError, ValueError):
        return False
    active.append(name)
    return True


def _check(request: Mapping[str, Any], limits: Limits, active: list[str]) -> None:
    """Fork the candidate, then test it."""
    ours, theirs = socket.socketpair()
    program = receive(0)
    if "namespaces" in active:
        kernel.call("unshare", kernel.NEWPID)
    child = os.fork()
    if child == 0:
        _become_candidate(theirs.detach(), program, request, limits, list(active))
    theirs.close()
    report = os.dup(1)
    _silence()
    _give_up_rights(request, limits, active)
    channel, test = ours.detach(), receive(0)
    try:
        # Sent before the program's first line runs, so that it cannot be of the program's making.
        active += receive(channel).get("active", ())
        result = _run_test(channel, test)
    except WireError as error:
        result = _verdict("broken", str(error))
    with contextlib.suppress(OSError):
        os.kill(child, signal.SIGKILL)
    send(report, {**result, "active": list(dict.fromkeys(active))})


def _silence() -> None:
    """Let nothing that is printed get anywhere."""
    reader, writer = os.pipe()
    os.close(reader)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    os.dup2(writer, 1)
    os.dup2(writer, 2)
    os.close(writer)
    sys.stdout = sys.stderr = _Nowhere()  # type: ignore[assignment]


class _Nowhere:
    """A text stream that keeps nothing, however much is written."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None: ...

    def isatty(self) -> bool:
        return False


def _give_up_rights(request: Mapping[str, Any], limits: Limits, active: list[str]) -> None:
    """Become nobody, within limits, for good."""
    _tried("unprivileged", request, active, kernel.drop_privileges)
    limits.apply()
    active.append("limits")


def _harden(request: Mapping[str, Any], limits: Limits, active: list[str]) -> None:
    """Give up rights, and all system calls that a program which computes something has no use for."""
    _give_up_rights(request, limits, active)
    _tried("system_calls", request, active, filters.install)
    if "namespaces" not in active or "system_calls" not in active:
        refuse_in_python(tuple(kernel.readable()))
        active.append("python_audit")


# ---- the candidate


def _become_candidate(
    descriptor: int, program: Mapping[str, Any], request: Mapping[str, Any], limits: Limits, active: list[str]
) -> None:
    """Define the program, then answer calls of it until nobody asks any more. Never returns."""
    os.dup2(descriptor, 0)
    _silence()
    kernel.close_all_but([0, 1, 2])
    channel = os.dup(0)
    sys.stdin = None  # type: ignore[assignment]
    for name in [name for name in sys.modules if name.startswith("tide_plugins")]:
        del sys.modules[name]
    os.dup2(1, 0)
    try:
        _harden(request, limits, active)
        send(channel, {"active": active})
        _serve(channel, program["source"])
    except WireError:
        os._exit(0)
    except BaseException as error:
        send(channel, _failure(error))
    os._exit(1)


def _serve(channel: int, source: str) -> None:
    namespace: dict[str, Any] = {"__name__": "candidate"}
    try:
        exec(compile(source, FILENAME, "exec"), namespace)
    except BaseException as error:
        send(channel, _failure(error))
        return
    send(channel, {"ready": True})
    while True:
        asked = receive(channel)
        try:
            function = namespace[asked["name"]]
            arguments, named = decode(asked["arguments"]), decode(asked["named"])
            answer: dict[str, Any] = {"value": encode(function(*arguments, **named))}
        except BaseException as error:
            answer = _failure(error)
        send(channel, answer)


def _failure(error: BaseException) -> dict[str, Any]:
    kind = next(
        (cls.__name__ for cls in type(error).__mro__ if getattr(builtins, cls.__name__, None) is cls), "Exception"
    )
    try:
        text = str(error)
    except BaseException:
        text = "?"
    return {"raised": kind, "message": f"{type(error).__name__}: {text}"[:SHOWN]}


# ---- the checker


class Raised(Exception):
    """The candidate raised something that is no built-in exception."""


def _run_test(channel: int, test: Mapping[str, Any]) -> dict[str, Any]:
    """Run the tests against the candidate; the token goes into the result only after they ran to their end."""
    try:
        opened = receive(channel)
        if "ready" not in opened:
            return _verdict("definition", str(opened.get("message", "")))
        namespace: dict[str, Any] = {"__name__": "check"}
        exec(compile(test["setup"], "setup.py", "exec"), namespace)
        for name in test["names"]:
            namespace[name] = _proxy(channel, name)
        exec(compile(test["test"], "test.py", "exec"), namespace)
    except WireError as error:
        return _verdict("died", str(error))
    except AssertionError as error:
        return _verdict("failed", str(error))
    except SystemExit as error:
        return _verdict("raised", f"SystemExit: {error}")
    except Exception as error:
        return _verdict("raised", f"{type(error).__name__}: {error}")
    return {"verdict": "passed", "token": test["token"]}


def _verdict(kind: str, message: str) -> dict[str, Any]:
    return {"verdict": kind, "message": message[:SHOWN]}


def _proxy(channel: int, name: str) -> Callable[..., Any]:
    """Return a function that calls the candidate's."""

    def call(*arguments: Any, **named: Any) -> Any:
        send(channel, {"name": name, "arguments": encode(list(arguments)), "named": encode(named)})
        answer = receive(channel)
        if isinstance(answer, dict) and "value" in answer:
            return decode(cast("dict[str, Any]", answer)["value"])
        raise _raised(answer)

    return call


def _raised(answer: Any) -> Exception:
    kind, message = (str(answer.get(key, "")) for key in ("raised", "message"))
    cls = getattr(builtins, kind, None)
    if isinstance(cls, type) and issubclass(cls, Exception):
        try:
            return cls(message)
        except TypeError:  # such as UnicodeDecodeError, which wants more
            return Raised(message)
    return Raised(message)
