"""The mesh is found where the caller says, else where the environment says, else in mesh.json."""

import json
from pathlib import Path

import pytest
from chorale_client import AsyncChorale, MeshNotFoundError, RequestError, addresses
from chorale_client.services import SERVICES
from loopback import PATIENCE, Served


def mesh_file(home: Path, **services: str) -> None:
    """What `chorale up` writes."""
    entries = {name: {"address": text, "pid": 1} for name, text in services.items()}
    (home / "mesh.json").write_text(json.dumps({"services": entries, "pid": 1}))


def targets(
    home: Path, environ: dict[str, str], endpoint: str = "", **given: str
) -> dict[str, str]:
    """Where each service would be dialled."""
    found = addresses.find(endpoint, given, home_dir=home, environ=environ)
    return {name: address.target for name, address in found.items()}


def test_what_is_said_first_counts(tmp_path: Path) -> None:
    """The caller over the environment over mesh.json; a service's own address over the endpoint."""
    mesh_file(tmp_path, ingest="127.0.0.1:1", mastering="127.0.0.1:2")
    assert targets(tmp_path, {}) == {
        "ingest": "dns:///127.0.0.1:1",
        "mastering": "dns:///127.0.0.1:2",
    }

    environ = {"CHORALE_ENDPOINT": "edge:3", "CHORALE_INGEST_ADDRESS": "ingest:4"}
    found = targets(tmp_path, environ)
    assert found["ingest"] == "dns:///ingest:4"
    assert {found[name] for name in set(found) - {"ingest"}} == {"dns:///edge:3"}
    assert set(found) == set(SERVICES)

    found = targets(tmp_path, environ, "there:5", mastering="mine:6")
    assert (found["ingest"], found["mastering"]) == ("dns:///there:5", "dns:///mine:6")
    assert targets(tmp_path, environ, ingest="mine:6") == {"ingest": "dns:///mine:6"}


@pytest.mark.parametrize(
    ("text", "target", "tls"),
    [
        ("localhost:7401", "dns:///localhost:7401", None),
        ("https://mesh.example", "dns:///mesh.example:443", True),
        ("https://mesh.example:8443/", "dns:///mesh.example:8443", True),
        ("http://mesh.example", "dns:///mesh.example:80", False),
        ("10.0.0.1:1,10.0.0.2:1", "ipv4:10.0.0.1:1,10.0.0.2:1", None),
        ("[::1]:7401", "dns:///[::1]:7401", None),
        ("https://[2001:db8::1]", "dns:///[2001:db8::1]:443", True),
        ("dns:///ingest.chorale.svc:7401", "dns:///ingest.chorale.svc:7401", None),
        ("unix:/run/ingest.sock", "unix:/run/ingest.sock", None),
    ],
)
def test_addresses_are_written_as_people_write_them(
    text: str, target: str, tls: bool | None
) -> None:
    """host:port, URLs, lists, IPv6, gRPC targets."""
    address = addresses.parse(text, "test")
    assert (address.target, address.tls) == (target, tls)


@pytest.mark.parametrize("text", ["", "localhost", "localhost:", ":7401", "localhost:http"])
def test_an_address_without_host_or_port_is_refused(text: str) -> None:
    """The message says who said it and what an address is."""
    with pytest.raises(RequestError, match=r"CHORALE_ENDPOINT says .* host:port"):
        addresses.parse(text, "CHORALE_ENDPOINT")


def test_a_misspelt_service_is_refused(tmp_path: Path) -> None:
    """`addresses={"ingets": ...}` is an error, not silence."""
    with pytest.raises(RequestError, match="no service ingets"):
        targets(tmp_path, {}, ingets="a:1")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"services": {"ingest": {}}}', '{"services": 3}'])
def test_a_damaged_mesh_file_says_what_to_do(tmp_path: Path, text: str) -> None:
    """Half a file is MeshNotFoundError with its path."""
    (tmp_path / "mesh.json").write_text(text)
    with pytest.raises(MeshNotFoundError, match=r"mesh\.json.*chorale up"):
        targets(tmp_path, {})


def test_loopback_is_known_for_what_it_is() -> None:
    """Only addresses that cannot leave this machine are local."""
    local = ["127.0.0.1:1", "localhost:1", "[::1]:1", "unix:/run/a", "127.8.8.8:1"]
    local += ["127.0.0.1:1,127.0.0.1:2", "ipv6:[::1]:1", "dns:///localhost:1"]
    remote = [
        "127.0.0.1:1,10.0.0.1:1",
        "10.0.0.1:1",
        "mesh.example:1",
        "https://mesh.example",
        "127.example:1",
    ]
    assert all(addresses.parse(text, "").is_local for text in local)
    assert not any(addresses.parse(text, "").is_local for text in remote)


async def test_a_mesh_that_nobody_named_says_how_to_start_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error of a first call without any mesh names every way to have one."""
    monkeypatch.delenv("CHORALE_ENDPOINT", raising=False)
    async with AsyncChorale(home=tmp_path) as chorale:
        assert chorale.services == []
        with pytest.raises(MeshNotFoundError) as caught:
            await chorale.usage()
    for hint in ("chorale up", "CHORALE_ENDPOINT", "CHORALE_INGEST_ADDRESS", str(tmp_path)):
        assert hint in caught.value.message


async def test_the_mesh_of_chorale_up_is_found(
    tmp_path: Path, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a word, the client talks to what mesh.json in CHORALE_HOME names."""
    mesh_file(tmp_path, ingest=served.address)
    monkeypatch.setenv("CHORALE_HOME", str(tmp_path))
    async with AsyncChorale(patience=PATIENCE) as chorale:
        assert chorale.services == ["ingest"]
        assert (await chorale.usage()).principal == "local"
        with pytest.raises(MeshNotFoundError, match="Known are ingest"):
            await chorale.engines("mastering")
