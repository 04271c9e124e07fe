"""The embedded S3 server: real, private, and unimpressed by crashes."""

import io
import json
import stat
import subprocess
import sys
import textwrap
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError

import psutil
import pytest
from chorale_mesh.children import record_path, running_pid
from chorale_mesh.objects import EmbeddedObjects, ObjectsError
from chorale_mesh.ports import free_twin_ports
from minio import Minio
from minio.error import S3Error


def client_of(server: EmbeddedObjects) -> Minio:
    """A client with the server's keys."""
    return Minio(
        endpoint=server.endpoint,
        access_key=server.access_key,
        secret_key=server.secret_key,
        secure=False,
    )


def put(client: Minio, bucket: str, name: str, data: bytes) -> None:
    """Stores one object."""
    client.put_object(bucket_name=bucket, object_name=name, data=io.BytesIO(data), length=len(data))


def got(client: Minio, bucket: str, name: str) -> bytes:
    """Reads one object."""
    answer = client.get_object(bucket_name=bucket, object_name=name)
    try:
        return bytes(answer.read())
    finally:
        answer.close()
        answer.release_conn()


def test_nobody_gets_in_without_keys(object_server: EmbeddedObjects, bucket: str) -> None:
    """An anonymous request is forbidden, to read and to write alike."""
    for method in ("GET", "PUT"):
        request = urllib.request.Request(
            f"http://{object_server.endpoint}/{bucket}/x", data=b"x", method=method
        )
        with pytest.raises(HTTPError, match="403") as refused:
            urllib.request.urlopen(request)
        refused.value.close()


def test_it_listens_on_loopback_only(object_server: EmbeddedObjects) -> None:
    """Neither S3 nor any of the unprotected ports behind it can be reached from outside."""
    assert object_server.child is not None
    connections = psutil.Process(object_server.child.pid).net_connections("inet")
    listening = {c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}


def test_a_bucket_is_never_made_by_accident(object_server: EmbeddedObjects) -> None:
    """Writing to a bucket that is not there is an error, not a bucket."""
    with pytest.raises(S3Error, match="NoSuchBucket"):
        put(client_of(object_server), "never-made", "x", b"x")


def test_a_full_bucket_is_not_deleted(object_server: EmbeddedObjects, bucket: str) -> None:
    """Deleting a bucket with objects in it is refused."""
    client = client_of(object_server)
    put(client, bucket, "x", b"x")
    with pytest.raises(S3Error, match="BucketNotEmpty"):
        client.remove_bucket(bucket_name=bucket)


def test_keys_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    """Nothing in the state directory gives other users the keys; the command line does not."""
    with EmbeddedObjects(tmp_path / "s3") as server:
        assert stat.S_IMODE((tmp_path / "s3" / "secret-key").stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "s3").stat().st_mode) == 0o700
        assert server.child is not None
        assert server.secret_key not in " ".join(psutil.Process(server.child.pid).cmdline())


def test_what_was_stored_survives_a_kill(tmp_path: Path) -> None:
    """After kill -9 the same endpoint, with the same keys, has the same objects."""
    with EmbeddedObjects(tmp_path / "s3") as server:
        client = client_of(server)
        client.make_bucket(bucket_name="kept")
        for number in range(20):
            put(client, "kept", f"object-{number}", bytes([number]) * 100_000)
        endpoint = server.endpoint
        server.kill()
        server.start()
        assert server.endpoint == endpoint
        for number in range(20):
            assert got(client, "kept", f"object-{number}") == bytes([number]) * 100_000


def test_what_was_stored_survives_other_ports(tmp_path: Path) -> None:
    """When its ports were taken meanwhile it takes others, and the objects are still there."""
    with EmbeddedObjects(tmp_path / "s3") as server:
        client_of(server).make_bucket(bucket_name="kept")
        put(client_of(server), "kept", "x", b"here")
    ports = tmp_path / "s3" / "ports.json"
    names = json.loads(ports.read_text())
    ports.write_text(json.dumps(dict(zip(names, free_twin_ports(len(names)), strict=True))))
    with EmbeddedObjects(tmp_path / "s3") as server:
        assert got(client_of(server), "kept", "x") == b"here"


def test_it_dies_with_a_killed_parent(tmp_path: Path, eventually: Callable[..., None]) -> None:
    """kill -9 of the program that runs it leaves no process behind."""
    program = textwrap.dedent(
        f"""
        import pathlib, time
        from chorale_mesh.objects import EmbeddedObjects
        EmbeddedObjects(pathlib.Path({str(tmp_path / "s3")!r})).start()
        print("up", flush=True)
        time.sleep(600)
        """
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent.stdout:
        assert parent.stdout.readline() == b"up\n"
    record = record_path(tmp_path / "s3", "objects")
    assert running_pid(record) is not None
    parent.kill()
    parent.wait()
    eventually(lambda: running_pid(record) is None)


def test_a_taken_port_is_said(tmp_path: Path, taken_port: int) -> None:
    """A port that another program has is named in the error."""
    with pytest.raises(ObjectsError, match=f"Port {taken_port} .* is taken"):
        EmbeddedObjects(tmp_path / "s3", ports=taken_port).start()
