"""The pods that the chart renders, run by `podman play kube` on a network of their own.

podman 4 knows less than a cluster. What it does not know is said otherwise, and nothing else is
changed: projected Secrets become a ConfigMap, names of Services become `hostAliases`, each replica
is a Deployment of its own, and ports, which it would take on this machine, are left unsaid. Probes
by gRPC, topology and policies it passes over.
"""

import asyncio
import copy
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import rendered_chart as chart
import yaml

NETWORK, PREFIX = "chorale-rendered", "10.89.77"
GATEWAY = f"{PREFIX}.1"
STOP_SECONDS = 60
# What lets runc work where limits may not be raised and control groups are of the first version.
_CONTAINERS = """[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
"""
_FREEBIND = 15  # IP_FREEBIND: the bridge is there only once a pod stands on it


class Podman:
    """podman, told how to run here."""

    def __init__(self, directory: Path) -> None:
        (directory / "containers.conf").write_text(_CONTAINERS)
        own = (
            {"CONTAINERS_CONF": str(directory / "containers.conf")} if shutil.which("runc") else {}
        )
        self._environment = {**os.environ, **own}

    def run(self, *arguments: str, check: bool = True, given: str = "") -> str:
        """What `podman ARGUMENTS` says."""
        done = subprocess.run(
            ["podman", *arguments],
            env=self._environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        if check and done.returncode:
            raise RuntimeError(f"podman {' '.join(arguments)}: {done.stderr[-2000:]}")
        return done.stdout or done.stderr  # what a container said there is there again


class Pods:
    """Pods of the rendered Deployments, each at an address of its own."""

    def __init__(self, podman: Podman, deployments: Mapping[str, chart.Manifest]) -> None:
        self._podman, self._deployments = podman, deployments
        self._secrets: dict[str, str] = {}
        self.addresses: dict[str, list[str]] = {}

    def place(self, counts: Mapping[str, int], secrets: Mapping[str, str]) -> None:
        """Gives every replica its address, and all of them the same secrets."""
        self._secrets = dict(secrets)
        numbers = iter(range(10, 250))
        for service, count in counts.items():
            self.addresses[service] = [f"{PREFIX}.{next(numbers)}" for _ in range(count)]

    def play(self, service: str, replica: int) -> None:
        """Starts one replica."""
        text = yaml.safe_dump_all(self._translated(service, replica), sort_keys=False)
        self._podman.run(
            *("play", "kube", "--log-driver", "k8s-file", "--network", NETWORK),
            *("--ip", self.addresses[service][replica], "-"),
            given=text,
        )

    def drain(self, service: str, replica: int) -> int:
        """SIGTERM, as a cluster ends a pod; the exit status. The pod's remains are removed."""
        name = f"{self._pod(service, replica)}-{service}"
        self._podman.run("stop", "--time", str(STOP_SECONDS), name)
        status = self._podman.run("inspect", "--format", "{{.State.ExitCode}}", name)
        self.remove(service, replica)
        return int(status)

    def kill(self, service: str, replica: int) -> None:
        """Ends one replica as a lost node does."""
        self.remove(service, replica)

    def remove(self, service: str, replica: int) -> None:
        """Removes what is left of a replica."""
        self._podman.run("pod", "rm", "--force", "--time", "0", self._pod(service, replica))

    def close(self) -> None:
        """Removes every pod."""
        for service, addresses in self.addresses.items():
            for replica in range(len(addresses)):
                self._podman.run(
                    *("pod", "rm", "--force", "--time", "0", "--ignore"),
                    self._pod(service, replica),
                )
                self._podman.run("volume", "rm", "--force", f"{service}-{replica}-secrets")

    def logs(self, service: str, replica: int) -> str:
        """What a replica says."""
        name = f"{self._pod(service, replica)}-{service}"
        return self._podman.run("logs", "--tail", "20", name, check=False)

    def _pod(self, service: str, replica: int) -> str:
        return f"{service}-{replica}-pod-0"

    def _translated(self, service: str, replica: int) -> Sequence[chart.Manifest]:
        deployment = copy.deepcopy(self._deployments[f"chorale-{service}"])
        deployment["metadata"]["name"] = f"{service}-{replica}"
        pod = deployment["spec"]["template"]["spec"]
        name = f"{service}-{replica}-secrets"
        for container in pod["containers"]:
            container.pop("ports")
        for volume in pod["volumes"]:
            if volume.pop("projected", None):
                volume["configMap"] = {"name": name}
        pod["hostAliases"] = [
            {"ip": address, "hostnames": [f"chorale-{other}"]}
            for other, addresses in self.addresses.items()
            for address in addresses
        ]
        secrets = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name},
            "data": self._secrets,
        }
        return secrets, deployment


@asynccontextmanager
async def pods(values: chart.Manifest) -> AsyncIterator[Pods]:
    """The network for the Deployments of these values; nothing stands on it yet."""
    with tempfile.TemporaryDirectory() as directory:
        podman = Podman(Path(directory))
        podman.run("network", "rm", "--force", NETWORK, check=False)  # of a test that was killed
        podman.run("network", "create", "--subnet", f"{PREFIX}.0/24", NETWORK)
        playing = Pods(podman, chart.of_kind(chart.manifests(values), "Deployment"))
        try:
            yield playing
        finally:
            playing.close()
            podman.run("network", "rm", "--force", NETWORK)


@asynccontextmanager
async def reachable(port: int) -> AsyncIterator[int]:
    """Lets pods reach what listens on loopback of this machine: the port, at the gateway."""
    listener = socket.socket()
    listener.setsockopt(socket.IPPROTO_IP, _FREEBIND, 1)
    listener.bind((GATEWAY, 0))

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        ways = [_pump(reader, back), _pump(there, writer)]
        await asyncio.gather(*ways, return_exceptions=True)

    async with await asyncio.start_server(join, sock=listener) as server:
        yield int(server.sockets[0].getsockname()[1])
        server.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()
