"""Triton servers and HAProxy on this machine's loopback, for the demo and the tests: started, watched, killed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sysconfig
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

CONFIG = Path(__file__).with_name("haproxy.cfg")
HOST = "127.0.0.1"


def tritonserver() -> Path:
    """The server of the PyPI wheel, or the one on the PATH. Raises FileNotFoundError."""
    wheel = Path(sysconfig.get_path("purelib")) / "pytriton" / "tritonserver" / "bin" / "tritonserver"
    found = wheel if wheel.exists() else shutil.which("tritonserver")
    if found is None:
        raise FileNotFoundError("no tritonserver: .ci/setup fleet brings one into .venv-fleet")
    return Path(found)


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for found in sockets:
            found.bind((HOST, 0))
        return [int(found.getsockname()[1]) for found in sockets]


def fetch(url: str) -> str:
    """A page."""
    with urllib.request.urlopen(url, timeout=5) as page:
        return str(page.read().decode())


def cpu_seconds(process: subprocess.Popen[bytes] | None) -> float:
    """Of all threads of a process that runs."""
    if process is None:
        return 0.0
    words = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


class Server:
    """A tritonserver, with ports of its own that it keeps from start to start."""

    def __init__(self, name: str, repository: Path, logs: Path) -> None:
        self.name, self.repository, self.log = name, repository, logs / f"{name}.log"
        self.http, self.grpc, self.metrics_port = free_ports(3)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Of its gRPC."""
        return f"{HOST}:{self.grpc}"

    def start(self) -> None:
        """Starts it, and returns once its model is ready."""
        binary = tritonserver()
        ports = (("http", self.http), ("grpc", self.grpc), ("metrics", self.metrics_port))
        command: list[str | Path] = [binary, "--model-repository", self.repository, "--exit-timeout-secs", "5"]
        command += ["--backend-directory", binary.parent.parent / "backends", "--disable-auto-complete-config"]
        for name, port in ports:
            command += [f"--{name}-address", HOST, f"--{name}-port", str(port)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 120
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} did not start:\n" + "\n".join(self.log.read_text().splitlines()[-8:]))
            time.sleep(0.1)

    def is_ready(self) -> bool:
        """As an orchestrator asks."""
        try:
            fetch(f"http://{HOST}:{self.http}/v2/health/ready")
        except (OSError, urllib.error.URLError):
            return False
        return True

    def metrics(self, prefix: str, model: str = "") -> dict[str, float]:
        """The metrics whose names begin so, of a model, or of all together."""
        found: dict[str, float] = {}
        for line in fetch(f"http://{HOST}:{self.metrics_port}/metrics").splitlines():
            if line.startswith(prefix) and f'model="{model}' in line:
                name = line.partition("{")[0]
                found[name] = found.get(name, 0.0) + float(line.split()[-1])
        return found

    def memory(self) -> int:
        """Resident bytes."""
        assert self.process is not None
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def cpu_seconds(self) -> float:
        """Of all its threads, so far."""
        return cpu_seconds(self.process)

    def kill(self) -> None:
        """Ends it between two instructions, as a lost machine does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Asks it to end, as an orchestrator does, and waits."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self.process is None:
            return
        self.process.send_signal(number)
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None


class Balancer:
    """HAProxy in front of two servers, with examples/fleet/haproxy.cfg."""

    def __init__(self, servers: Sequence[Server], folder: Path) -> None:
        (self.port,) = free_ports(1)
        self._folder = tempfile.mkdtemp(prefix="fleet-")  # a socket's path must be short
        self.socket = Path(self._folder, "haproxy.sock")
        self._log = folder / "haproxy.log"
        self._environment = {"FLEET_BIND": f"{HOST}:{self.port}", "FLEET_SOCKET": str(self.socket)}
        for number, server in enumerate(servers, 1):
            self._environment[f"FLEET_{number}"] = server.address
            self._environment[f"FLEET_READY_{number}"] = str(server.http)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """What clients connect to."""
        return f"{HOST}:{self.port}"

    def start(self) -> None:
        """Starts it, and returns once it can be connected to."""
        program = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
        if program is None:
            raise FileNotFoundError("no haproxy: .ci/setup fleet brings it")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [program, "-db", "-f", CONFIG], env={**os.environ, **self._environment}, stdout=log, stderr=log
            )
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection((HOST, self.port), timeout=1).close()
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"haproxy did not start:\n{self._log.read_text()}") from None
                time.sleep(0.05)

    def order(self, *commands: str) -> str:
        """Says something to it by its socket; returns the answer."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.socket))
            connection.sendall("; ".join(commands).encode() + b"\n")
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode()

    def cpu_seconds(self) -> float:
        """Of all its threads, so far."""
        return cpu_seconds(self._process)

    def calls(self) -> dict[str, int]:
        """The calls under way, by server."""
        rows = [line.split(",") for line in self.order("show stat").splitlines() if line.startswith("servers,")]
        return {row[1]: int(row[4]) for row in rows if row[1] != "BACKEND"}

    def stop(self) -> None:
        """Ends it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=10)
            self._process = None
        shutil.rmtree(self._folder, ignore_errors=True)


@contextlib.contextmanager
def running(repository: Path, logs: Path, count: int = 1) -> Iterator[list[Server]]:
    """Servers of one repository, stopped at the end."""
    logs.mkdir(parents=True, exist_ok=True)
    found = [Server(f"server-{number}", repository, logs) for number in range(1, count + 1)]
    try:
        for server in found:
            server.start()
        yield found
    finally:
        for server in found:
            server.kill()


@contextlib.contextmanager
def balanced(repository: Path, logs: Path) -> Iterator[tuple[Balancer, list[Server]]]:
    """Two servers behind HAProxy."""
    with running(repository, logs, 2) as servers:
        balancer = Balancer(servers, logs)
        try:
            balancer.start()
            yield balancer, servers
        finally:
            balancer.stop()
