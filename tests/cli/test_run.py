"""The whole system as an operator starts it: real processes, real engines, real signals."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.ports import free_port

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")


def processes_of(home: Path) -> dict[int, str]:
    """Every living process that was started with this home, by its environment, or runs within it."""
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            environment = (folder / "environ").read_bytes()
            cwd = os.readlink(folder / "cwd")
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        # Redis writes its title over its environment; it is known by the folder it runs in.
        is_ours = f"MINTONG_HOME={home}".encode() in environment.split(b"\0") or cwd.startswith(f"{home}/")
        if state != "Z" and is_ours:
            found[int(folder.name)] = command
    return found


def environment(home: Path, port: int) -> dict[str, str]:
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("MINTONG_") and key not in {"MONGODB_URI", "REDIS_URL"}
    }
    return {**kept, "MINTONG_HOME": str(home), "MINTONG_PORT": str(port), "COLUMNS": "200", "NO_COLOR": "1"}


def mintong(home: Path, port: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments],
        env=environment(home, port),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


@contextmanager
def started(home: Path, port: int, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "cli.main", "run", *arguments],
        env=environment(home, port),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until(check: Callable[[], bool], within_s: float, what: str) -> None:
    deadline = time.monotonic() + within_s
    while not check():
        assert time.monotonic() < deadline, f"{what}: not within {within_s} s"
        time.sleep(0.05)


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """Read what the system says up to the line that holds a text."""
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if text in line:
            return said
    raise AssertionError(f"ended without {text!r}: {said}")


def answers(port: int, path: str) -> int:
    try:
        return httpx.get(f"http://127.0.0.1:{port}{path}", trust_env=False, timeout=2).status_code
    except httpx.HTTPError:
        return 0


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose store holds a small published catalogue."""
    folder = tmp_path_factory.mktemp("run") / "home"
    result = mintong(folder, free_port(), "demo", "catalogue", "--limit", "300")
    assert result.returncode == 0, result.stderr
    assert "Published version 1 with 300 items." in result.stderr
    return folder


def check_second_terminal(home: Path, port: int) -> None:
    """Commands join the running engines."""
    status = mintong(home, port, "catalogue", "status")
    assert "300 published, 300 in the store" in status.stdout
    unknown = mintong(home, port, "catalogue", "withdraw", "no-such-item")
    assert unknown.returncode == 1
    assert unknown.stderr == "Error: None of these ids (1) names an item.\n"
    again = mintong(home, port, "demo", "catalogue", "--limit", "300")
    assert again.stderr == "The published catalogue is up to date.\n"
    doctor = mintong(home, port, "doctor")
    assert doctor.returncode == 0, doctor.stdout
    assert "version 1, 300 items" in doctor.stdout


def test_interrupt_stops_everything_and_leaves_nothing(home: Path) -> None:
    port = free_port()
    with started(home, port) as process:
        text = read_until(process, "Mintong is ready")
        assert answers(port, "/readyz") == 200
        # supervisor, two engines, three parts
        wait_until(lambda: len(processes_of(home)) == 6, 5, "six processes")
        second = mintong(home, free_port(), "run")
        assert second.returncode == 1
        assert f"in use by process {process.pid}" in second.stderr
        assert second.stderr.count("\n") == 1
        check_second_terminal(home, port)
        process.send_signal(signal.SIGINT)
        assert process.wait(40) == 0
        assert process.stderr is not None
        text += process.stderr.read()
    assert f"http://127.0.0.1:{port}/graphql" in text
    assert "Traceback" not in text
    assert text.rstrip().endswith("Stopped.")
    assert processes_of(home) == {}


def test_parts_and_engines_that_are_killed_come_back(home: Path) -> None:
    port = free_port()
    with started(home, port) as process:
        read_until(process, "Mintong is ready")
        engines = json.loads((home / "engines.json").read_text())["engines"]
        for pid, command in processes_of(home).items():
            if pid != process.pid and (pid in engines.values() or command.rstrip().endswith(" api")):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: answers(port, "/readyz") != 200, 5, "noticed")
        wait_until(lambda: answers(port, "/readyz") == 200, 40, "ready again")
        # The supervisor itself is killed: nothing may stay.
        process.kill()
        process.wait()
        wait_until(lambda: not set(engines.values()) & set(processes_of(home)), 3, "engines gone")
        wait_until(lambda: processes_of(home) == {}, 20, "parts gone")


def test_port_that_is_taken_is_named(home: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = int(other.getsockname()[1])
        result = mintong(home, port, "run")
    assert result.returncode == 1
    assert result.stderr == (
        f"Error: Port {port} on 127.0.0.1 is taken by another program. "
        "Stop that one, or set MINTONG_PORT to a free port.\n"
    )


def test_empty_store_without_demo_serves_and_says_what_is_missing(tmp_path: Path) -> None:
    home, port = tmp_path / "home", free_port()
    with started(home, port, "--no-demo") as process:
        read_until(process, "There is no catalogue yet")
        assert answers(port, "/healthz") == 200
        assert answers(port, "/readyz") == 503
        process.terminate()
        assert process.wait(40) == 0
    assert processes_of(home) == {}
