"""What a program of a model may not do, tried: each attempt fails, with the kernel's help and with less of it."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from tide_plugins.sandbox import runner
from tide_plugins.sandbox.limits import Limits
from tide_plugins.sandbox.runner import Program, run
from tide_plugins.sandbox.wire import Opaque, WireError, decode, encode

WHOLE = runner.PROTECTIONS
WITHOUT_NAMESPACES = ("unprivileged", "system_calls")
PYTHON_ALONE = ("unprivileged",)
QUICK = Limits(seconds=0.5, memory_mib=256)


def needs(protections: tuple[str, ...]) -> tuple[str, ...]:
    held = runner.available(protections)
    missing = [name for name in protections if name not in held]
    if missing:
        pytest.skip(f"this system does not offer {', '.join(missing)}")
    return protections


@pytest.fixture(params=[WHOLE, WITHOUT_NAMESPACES, PYTHON_ALONE], ids=["whole", "no_namespaces", "python_alone"])
def protections(request):
    return needs(request.param)


@pytest.fixture
def whole():
    return needs(WHOLE)


def attempt(source, test="assert f()", *, protections=WHOLE, limits=QUICK, **given):
    return run(Program(source=source, names=["f"], test=test, **given), limits, protections=protections)


def test_a_right_program_passes_and_a_wrong_one_does_not(protections):
    assert attempt("def f():\n    return 2", "assert f() == 2", protections=protections).verdict == "passed"
    wrong = attempt("def f():\n    return 3", "assert f() == 2, 'not two'", protections=protections)
    assert (wrong.verdict, wrong.message) == ("failed", "not two")
    raising = attempt("def f():\n    return {}['x']", protections=protections)
    assert (raising.verdict, raising.message) == ("raised", "KeyError: \"KeyError: 'x'\"")
    assert attempt("def f(:", protections=protections).verdict == "definition"


def test_what_held_is_reported():
    assert runner.available(())[-1] == "python_audit"
    assert "limits" in runner.available(WHOLE)
    if "namespaces" in runner.available(WHOLE):
        assert "python_audit" not in runner.available(WHOLE)


CONNECT = """
import {module}
def f():
    with {module}.socket({module}.AF_INET, {module}.SOCK_STREAM) as made:
        made.connect(("127.0.0.1", {port}))
    return True
"""


def test_there_is_no_network(protections):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.3)
        for module in ("socket", "_socket"):
            source = CONNECT.format(port=server.getsockname()[1], module=module)
            if module == "_socket":
                source = source.replace(
                    "with _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM) as made:",
                    "made = _socket.socket()\n    if 1:",
                )
            assert attempt(source, protections=protections).verdict != "passed"
        with pytest.raises(TimeoutError):
            server.accept()


def test_namespaces_alone_cut_the_network_off(whole):
    """Without the filter and without audit events there is still nowhere to connect to."""
    code = "import sys; sys.path.insert(0, sys.argv[1]); from tide_plugins.sandbox import kernel; kernel.enter_namespaces(); import os, socket; print(socket.if_nameindex()); s = socket.socket(); s.settimeout(1); print(s.connect_ex(('127.0.0.1', int(sys.argv[2]))))"
    with socket.create_server(("127.0.0.1", 0)) as server:
        plugins = Path(runner.__file__).resolve().parents[2]
        command = [os.path.realpath(sys.executable), "-I", "-S", "-c", code, str(plugins), str(server.getsockname()[1])]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")
    assert out[0] == "[(1, 'lo')]"
    assert int(out[1]) != 0


def test_files_of_the_caller_cannot_be_read(protections, tmp_path, monkeypatch):
    secret = tmp_path / "credentials"
    secret.write_text("hush")
    secret.chmod(0o644)
    monkeypatch.setenv("SECRET_TOKEN", "hush")
    places = [
        str(secret),
        "/etc/passwd",
        "/proc/1/environ",
        "/proc/self/environ",
        str(Path.home() / ".bashrc"),
        "/proc/self/mem",
    ]
    source = f"""
import os
def f():
    found = [] if "SECRET_TOKEN" not in os.environ else ["environment"]
    for place in {places!r}:
        for opener in (lambda p: open(p, "rb").read(9), lambda p: os.read(os.open(p, os.O_RDONLY), 9)):
            try:
                found.append((place, opener(place)))
            except OSError:
                pass
    return found
"""
    result = attempt(source, "assert f() == [], f()", protections=protections)
    assert result.verdict == "passed", result.message


def test_the_callers_folders_are_not_there(whole, tmp_path):
    source = "import os\ndef f(path):\n    return os.path.exists(path), sorted(os.listdir('/')), os.listdir('.')"
    allowed = {"lib", "lib64", "tmp", "usr", *Path(sys.base_prefix).parts[1:2]}
    test = (
        f"there, root, here = f({str(tmp_path)!r})\nassert not there and here == [] and set(root) <= {allowed!r}, root"
    )
    result = attempt(source, test)
    assert result.verdict == "passed", result.message


BOMBS = {
    "fork": "import os\ndef f():\n    return os.fork() >= 0",
    "fork_bomb": "import os\ndef f():\n    while True:\n        os.fork()",
    "posix_spawn": "import os\ndef f():\n    return os.posix_spawn('/bin/true', ['true'], {}) > 0",
    "subprocess": "import subprocess\ndef f():\n    return subprocess.run(['/bin/true']).returncode == 0",
    "system": "import os\ndef f():\n    return os.system('true') == 0",
    "memory": "def f():\n    return bytearray(1 << 33)",
    "memory_slowly": "def f():\n    x = []\n    while True:\n        x.append(bytearray(1 << 20))",
    "loop": "def f():\n    while True:\n        pass",
    "sleep": "import time\ndef f():\n    time.sleep(60)\n    return True",
    "loop_while_defined": "while True:\n    pass",
    "recursion": "def f():\n    return f()",
    "deep_answer": "def f():\n    x = []\n    for _ in range(100000):\n        x = [x]\n    return x",
    "large_answer": "def f():\n    return 'x' * (100 << 20)",
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_do_not_go_off(whole, name):
    started = time.monotonic()
    result = attempt(BOMBS[name])
    assert not result.passed
    assert result.verdict != "broken", result.message
    assert time.monotonic() - started < QUICK.seconds + runner.SLACK + 5


@pytest.mark.parametrize("name", ["fork", "fork_bomb", "subprocess", "system", "memory"])
def test_nor_without_namespaces(protections, name):
    assert not attempt(BOMBS[name], protections=protections).passed


def test_threads_are_limited(whole):
    source = """
import threading, time
def f():
    count = 0
    try:
        while count < 1000:
            threading.Thread(target=time.sleep, args=(5,), daemon=True).start()
            count += 1
    except RuntimeError:
        pass
    return count
"""
    assert attempt(source, "assert 0 < f() < 64", limits=Limits(seconds=3)).verdict == "passed"


def test_output_goes_nowhere(protections):
    source = "import os, sys\ndef f():\n    for _ in range(300):\n        print('x' * (1 << 20))\n    sys.stderr.write('y')\n    return 1"
    result = attempt(source, "assert f() == 1", protections=protections, limits=Limits(seconds=5))
    assert result.verdict == "passed", result.message
    assert len(result.message) < 1000


def test_nobody_outside_can_be_killed(protections):
    victim = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        places = [victim.pid, os.getpid(), "os.getppid()", -1]
        source = f"""
import os, signal
def f():
    done = []
    for pid in [{", ".join(map(str, places))}]:
        try:
            os.kill(pid, signal.SIGKILL)
            done.append(pid)
        except OSError:
            pass
    return done
"""
        result = attempt(source, "assert f() == []", protections=protections)
        assert result.verdict == "passed", result.message
        assert victim.poll() is None
    finally:
        victim.kill()
        victim.wait()


def test_nothing_is_written_outside_and_nothing_stays(protections, tmp_path, monkeypatch):
    outside, own = tmp_path / "outside", tmp_path / "own"
    outside.mkdir(mode=0o777)
    outside.chmod(0o777)
    own.mkdir()
    own.chmod(0o711)
    monkeypatch.setattr(tempfile, "tempdir", str(own))
    tmp_path.chmod(0o755)
    places = [
        str(outside / "x"),
        "/usr/x",
        "/x",
        "/var/tmp/tide-escape",
        sys.base_prefix + "/x",
        "/dev/shm/tide-escape",
    ]
    source = f"""
def f():
    done = []
    for place in {places!r}:
        try:
            with open(place, "w") as file:
                file.write("x")
            done.append(place)
        except OSError:
            pass
    return done
"""
    result = attempt(source, "assert f() == [], f()", protections=protections)
    assert result.verdict == "passed", result.message
    assert list(outside.iterdir()) == []
    assert list(own.iterdir()) == []
    assert not Path("/var/tmp/tide-escape").exists()


def test_its_own_folder_can_be_written_to_within_limits(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    source = """
def f(size):
    with open("note", "wb") as file:
        for _ in range(size):
            file.write(bytes(1 << 20))
    return open("note", "rb").read(1) == b"\\0"
"""
    assert attempt(source, "assert f(1)").verdict == "passed"
    assert attempt(source, "assert f(64)", limits=Limits(seconds=5, file_mib=4)).verdict in {"raised", "died"}
    assert list(tmp_path.iterdir()) == []


EXITS = [
    "import os; os._exit(0)",
    "import sys; sys.exit(0)",
    "raise SystemExit",
    "quit()",
    "exit(0)",
    "import os; os.abort()",
]


@pytest.mark.parametrize("line", EXITS)
def test_leaving_early_is_no_pass(protections, line):
    for source in (f"{line}\ndef f():\n    return 1", f"def f():\n    {line}"):
        assert not attempt(source, "f()\nf()", protections=protections).passed


PATCHES = {
    "equal_to_everything": "class A:\n    def __eq__(self, other):\n        return True\ndef f():\n    return A()",
    "equal_string": "class A(str):\n    def __eq__(self, other):\n        return True\n    __hash__ = str.__hash__\ndef f():\n    return A('no')",
    "equal_list": "class A(list):\n    def __eq__(self, other):\n        return True\ndef f():\n    return A()",
    "builtins": "import builtins\nbuiltins.AssertionError = ValueError\nbuiltins.len = lambda x: 7\nbuiltins.exec = print\ndef f():\n    return 'no'",
    "modules": "import sys\nfor m in list(sys.modules.values()):\n    for n in ('check', '_run_test', '_verdict'):\n        if hasattr(m, n):\n            setattr(m, n, lambda *a: {'verdict': 'passed'})\ndef f():\n    return 'no'",
    "frames": "import sys\nframe = sys._getframe()\nwhile frame:\n    frame.f_globals['_failure'] = lambda e: {'value': 'yes'}\n    frame = frame.f_back\ndef f():\n    return 'no'",
    "forged_report": "import os, json\nfor n in range(20):\n    try:\n        d = json.dumps({'verdict': 'passed', 'token': 'x'}).encode()\n        os.write(n, len(d).to_bytes(4, 'big') + d)\n    except OSError:\n        pass\ndef f():\n    return 'no'",
    "garbage": "import os\nfor n in range(20):\n    try:\n        os.write(n, b'\\xff' * 4096)\n    except OSError:\n        pass\ndef f():\n    return 'no'",
    "other_names": "def check(*a):\n    return None\ndef f():\n    return 'no'",
}


@pytest.mark.parametrize("name", PATCHES)
def test_tests_cannot_be_patched(protections, name):
    test = "def check(candidate):\n    assert candidate() == 'yes'\n    assert len('abc') == 3\ncheck(f)"
    result = attempt(PATCHES[name], test, protections=protections)
    assert not result.passed


def test_neither_token_nor_tests_are_in_the_programs_memory(whole, monkeypatch):
    monkeypatch.setattr(secrets, "token_hex", lambda size: "badcafe0" * 4)
    source = """
import gc, sys
def f(parts):
    sought = ["".join(part) for part in parts]
    texts = [repr(o)[:100000] for o in gc.get_objects() if isinstance(o, (dict, list, tuple)) and o is not sought and o is not parts]
    frame = sys._getframe(1)
    while frame:
        texts.append(repr(frame.f_locals) + repr(frame.f_code.co_consts))
        frame = frame.f_back
    return [word for word in sought[:2] if any(word in text for text in texts)]
"""
    # The words come in pieces, so that asking for them does not put them there.
    test = "marker = 'only_in_' 'the_test'\nassert f([('badcafe0badc', 'afe0badc'), ('only_in', '_the_test'), ('x',)]) == []"
    result = attempt(source, test, limits=Limits(seconds=10))
    assert result.verdict == "passed", result.message


def test_nothing_runs_on(protections, monkeypatch):
    marker = f"TIDE_TEST_{secrets.token_hex(8)}"
    monkeypatch.setattr(runner, "ENVIRONMENT", {**runner.ENVIRONMENT, marker: "1"})
    source = """
import os, threading, time
def f():
    threading.Thread(target=time.sleep, args=(60,), daemon=False).start()
    try:
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(60)
            os._exit(0)
    except OSError:
        pass
    return True
"""
    attempt(source, protections=protections)
    time.sleep(0.1)
    assert running_with(marker) == []


def running_with(marker: str) -> list[str]:
    found = []
    for place in Path("/proc").glob("[0-9]*/environ"):
        try:
            if marker.encode() in place.read_bytes():
                found.append(place.parent.name)
        except OSError:
            continue
    return found


def test_descriptors_are_not_inherited(protections, tmp_path):
    with (tmp_path / "open").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        source = """
import os
def f():
    held = []
    for n in range(3, 64):
        try:
            os.fstat(n)
            held.append(n)
        except OSError:
            pass
    return held
"""
        result = attempt(source, "assert len(f()) <= 1, f()", protections=protections)
    assert result.verdict == "passed", result.message


AS_SOMEBODY = """
import sys
sys.path.insert(0, sys.argv[1])
from tide_plugins.sandbox.runner import Program, available, run
print(*available())
for line in ("return os.getuid()", "return open('/etc/passwd').read()", "return os.kill(-1, 9)", "return os.fork()"):
    print(run(Program(source=f"import os\\ndef f():\\n    {line}", names=["f"], test="f()")).verdict)
"""


def test_a_caller_without_rights_has_the_same_protections(whole):
    python, plugins = Path("/usr/bin/python3"), Path(runner.__file__).resolve().parents[2]
    if os.geteuid() != 0:
        pytest.skip("the other tests already run without rights")
    others_read = all(place.stat().st_mode & 0o5 == 0o5 for place in [plugins, *plugins.parents])
    modern = "import sys; sys.exit(sys.version_info < (3, 11))"
    if not others_read or not python.exists() or subprocess.run([python, "-c", modern]).returncode:
        pytest.skip("another user has no Python 3.11 here, or cannot read this project")
    command = [str(python), "-I", "-S", "-B", "-c", AS_SOMEBODY, str(plugins)]
    done = subprocess.run(command, capture_output=True, text=True, user=65534, group=65534, extra_groups=[], cwd="/")
    held, *verdicts = done.stdout.splitlines()
    if "namespaces" not in held:
        pytest.skip("this system lets only root create namespaces")
    assert held.split() == list(runner.available())
    assert verdicts == ["passed", "raised", "raised", "raised"], done.stderr


def test_many_at_once(whole):
    results = []

    def one(number):
        results.append(attempt(f"def f():\n    return {number}", f"assert f() == {number}").verdict)

    threads = [threading.Thread(target=one, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == ["passed"] * 6


VALUES = [
    None,
    True,
    0,
    -3,
    10**5000,
    1.5,
    float("inf"),
    2j,
    "é\ud800",
    b"\0",
    [1, (2, {3: {4}})],
    frozenset({1}),
    {},
    (),
    {(1,): None},
]


@pytest.mark.parametrize("value", VALUES, ids=lambda v: type(v).__name__)
def test_plain_values_arrive_as_they_were_sent(value):
    there = decode(encode(value))
    assert there == value
    assert type(there) is type(value)


def test_other_values_are_equal_to_nothing():
    there = decode(encode(object()))
    assert isinstance(there, Opaque)
    assert there != object()
    for wrong in ({"q": 1}, {"i": []}, 3, {"d": [[{"l": []}, 1]]}, {"f": "x"}, {}):
        with pytest.raises(WireError):
            decode(wrong)
