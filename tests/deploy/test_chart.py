"""The chart gives clusters what they take, services what they know, and nobody anything else."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import json
from collections.abc import Iterator
from typing import Any

import helm_python
import kubernetes_validate.utils
import pytest
import rendered_chart as chart
import yaml
from chorale_client.services import SERVICES
from chorale_runtime import settings

VERSIONS = [f"1.{minor}" for minor in range(29, 37)]
# Kinds of operators: no schema of them is at hand, so their fields are not checked here.
FOREIGN = {
    "cert-manager.io",
    "monitoring.coreos.com",
    "keda.sh",
    "postgresql.cnpg.io",
    "gateway.networking.k8s.io",
}
COMPONENT = "app.kubernetes.io/component"
FITTING: set[tuple[str, str]] = set()
PODS = ("Deployment", "StatefulSet", "Job", "Pod")

pytestmark = pytest.mark.xdist_group("chart")  # what fits is checked once, by one process


@pytest.fixture(scope="module", params=chart.CASES)
def found(request: pytest.FixtureRequest) -> list[chart.Manifest]:
    """The manifests of one of ci/."""
    return chart.manifests(chart.case(request.param))


@pytest.mark.parametrize("name", chart.CASES)
def test_lint_has_nothing_to_say(name: str) -> None:
    """Helm's own lint finds neither errors nor warnings."""
    messages = helm_python.lint(str(chart.CHART), chart.case(name), strict=True)["messages"] or []
    assert [found for found in messages if found["severity"] not in ("INFO", 1)] == []


@pytest.mark.parametrize("name", chart.CASES)
def test_what_is_rendered_is_what_was_reviewed(name: str) -> None:
    """A change of the chart shows as a change of a golden file (`tools/chart.py` writes them)."""
    assert chart.golden(chart.case(name)) == (chart.GOLDEN / f"{name}.yaml").read_text()


@pytest.fixture(scope="module", autouse=True)
def _schemas_are_read_once() -> Iterator[None]:
    """Keeps what kubernetes_validate reads, which is a megabyte anew for every object."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("schema_contents", "all_versions"):
            read = getattr(kubernetes_validate.utils, name)
            patch.setattr(kubernetes_validate.utils, name, functools.cache(read))
        yield


@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_fits_kubernetes(found: list[chart.Manifest], version: str) -> None:
    """Each object of Kubernetes itself passes the strict schema of the version."""
    for manifest in found:
        once = (version, json.dumps(manifest, sort_keys=True))  # the cases share most objects
        if manifest["apiVersion"].split("/")[0] not in FOREIGN and once not in FITTING:
            kubernetes_validate.validate(manifest, version, strict=True)
            FITTING.add(once)


def test_no_object_is_made_twice(found: list[chart.Manifest]) -> None:
    """Kind and name together are unique."""
    names = [(each["kind"], each["metadata"]["name"]) for each in found]
    assert len(names) == len(set(names))


def test_every_service_of_the_mesh_is_there(found: list[chart.Manifest]) -> None:
    """Each has what it needs to run, be found, be kept and be no more than itself."""
    for kind in (
        "Deployment",
        "Service",
        "ServiceAccount",
        "PodDisruptionBudget",
        "NetworkPolicy",
    ):
        assert {f"chorale-{name}" for name in SERVICES} <= chart.of_kind(found, kind).keys()
    for name in SERVICES:
        assert chart.of_kind(found, "Service")[f"chorale-{name}"]["spec"]["clusterIP"] == "None"


def test_every_pod_is_restricted(found: list[chart.Manifest]) -> None:
    """The restricted Pod Security Standard, and a root file system that cannot be written."""
    for manifest in found:
        if manifest["kind"] not in PODS:
            continue
        pod = manifest["spec"]
        if manifest["kind"] != "Pod":
            pod = pod["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"]["type"] in ("RuntimeDefault", "Localhost")
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        kinds = {kind for volume in pod.get("volumes", []) for kind in volume.keys() - {"name"}}
        assert kinds <= {"emptyDir", "projected", "secret", "configMap", "persistentVolumeClaim"}
        for container in pod["containers"] + pod.get("initContainers", []):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"]
            assert not any("hostPort" in port for port in container.get("ports", []))


def test_services_are_told_only_what_they_have_rows_for(found: list[chart.Manifest]) -> None:
    """The settings of each service take its environment as it is, secrets by file apart."""
    for manifest in _of_services(found):
        name = manifest["metadata"]["labels"][COMPONENT]
        kind = importlib.import_module(f"chorale_{name}.settings").Settings
        secret = {
            f"CHORALE_{field.name.upper()}_FILE"
            for field in dataclasses.fields(kind)
            if field.metadata["secret"]
        }
        given = chart.variables(manifest)
        loaded = settings.load(kind, {k: v for k, v in given.items() if k not in secret})
        assert loaded.authenticates
        assert {"CHORALE_DATABASE_URL_FILE", "CHORALE_OBJECTS_SECRET_KEY_FILE"} <= given.keys()


def test_calls_name_every_address_a_service_has_a_row_for() -> None:
    """`calls` is the mesh: what a service's settings can call is what the chart lets it call."""
    values = yaml.safe_load((chart.CHART / "values.yaml").read_text())["services"]
    assert values.keys() == set(SERVICES)
    for name in SERVICES:
        kind = importlib.import_module(f"chorale_{name}.settings").Settings
        rows = {field.name for field in dataclasses.fields(kind)}
        callable_ = {other for other in SERVICES if f"{other}_address" in rows}
        assert set(values[name].get("calls", [])) == callable_, name


def test_the_drain_fits_into_the_grace(found: list[chart.Manifest]) -> None:
    """Kubernetes waits longer than the pause and the drain of a service together."""
    for manifest in _of_services(found):
        pod = manifest["spec"]["template"]["spec"]
        pause = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][-1]
        seconds = int(pause.rpartition("(")[2].strip(")"))
        drain = float(chart.variables(manifest)["CHORALE_DRAIN_SECONDS"])
        assert pod["terminationGracePeriodSeconds"] > seconds + drain


def test_network_policies_admit_exactly_the_calls(found: list[chart.Manifest]) -> None:
    """A service reaches another where `calls` says so: egress here and ingress there, no more."""
    policies = chart.of_kind(found, "NetworkPolicy")
    deployments = chart.of_kind(found, "Deployment")
    for caller in SERVICES:
        for callee in SERVICES:
            called = f"CHORALE_{callee.upper()}_ADDRESS" in chart.variables(
                deployments[f"chorale-{caller}"]
            )
            leaves = _peers(policies[f"chorale-{caller}"], "egress", "to")
            enters = _peers(policies[f"chorale-{callee}"], "ingress", "from")
            assert (callee in leaves, caller in enters) == (called, called)


def test_bundled_storage_admits_services_alone() -> None:
    """Only the pods of services reach the bundled storage, and what migrates the database."""
    policies = chart.of_kind(chart.manifests(chart.case("minimal")), "NetworkPolicy")
    for name, more in (("database", {"migration"}), ("objects", set[str]())):
        assert _peers(policies[f"chorale-{name}"], "ingress", "from") == set(SERVICES) | more


@pytest.mark.parametrize(
    "wrong",
    [
        {"sevices": {}},
        {"services": {"ingest": {"replica": 2}}},
        {"services": {"ingets": {}}},
        {"services": {"ingest": {"calls": ["mastring"]}}},
        {"services": {"generation": {"pools": {"gpu": {"gpus": 1}}}}},
        {"services": {"ingest": {"env": {"CHORALE_QUEUE_LIMIT": "1"}}}},
        {"tls": {"mode": "of"}},
        {"storage": {"objects": {"endpont": "x"}}},
        {"monitoring": {"podmonitor": True}},
        {"edge": {"enable": True}},
        {"edge": {"origins": ["https://a.example/with/path"]}},
        {"services": {"analysis": {"weights": {"files": {"a.pt": "https://x"}}}}},
    ],
    ids=str,
)
def test_a_typo_in_values_is_refused(wrong: dict[str, Any]) -> None:
    """The schema knows every key: what it does not know is an error, not the default."""
    with pytest.raises(helm_python.HelmValuesError):
        chart.text(wrong)


def test_every_default_is_in_the_schema() -> None:
    """No object of the schema takes keys it does not name, but maps meant for any."""
    values = yaml.safe_load((chart.CHART / "values.yaml").read_text())
    assert len((chart.CHART / "values.yaml").read_text().splitlines()) <= 250
    chart.text(values | {"storage": chart.case("gpu")["storage"]})


def test_an_open_mesh_is_refused() -> None:
    """Without TLS somebody has to say who they are."""
    with pytest.raises(helm_python.HelmRenderError, match="identity"):
        chart.text(chart.case("minimal") | {"identity": {"apiKeys": False}})


def test_a_service_cannot_sleep_but_a_pool_can() -> None:
    """Zero pods is for pools: the service's own pods take calls and wake the others."""
    values = chart.case("gpu")
    scaled = chart.of_kind(chart.manifests(values), "ScaledObject")["chorale-generation-gpu"]
    assert scaled["spec"]["minReplicaCount"] == 0
    values["services"]["ingest"] = {"scaling": {"kind": "keda", "minimum": 0}}
    with pytest.raises(helm_python.HelmRenderError, match="nobody would take its calls"):
        chart.text(values)


def test_devices_are_asked_for_by_their_name() -> None:
    """A pool with devices asks for them and takes the image built for them; its service not."""
    deployments = chart.of_kind(chart.manifests(chart.case("gpu")), "Deployment")
    for name, resource in (("generation-gpu", "gpu"), ("analysis-mig", "mig-1g.10gb")):
        container = deployments[f"chorale-{name}"]["spec"]["template"]["spec"]["containers"][0]
        assert container["resources"]["limits"][f"nvidia.com/{resource}"] == 1
        assert container["image"].endswith("-cuda")
    own = deployments["chorale-generation"]["spec"]["template"]["spec"]["containers"][0]
    assert not any(name.startswith("nvidia") for name in own["resources"]["limits"])


def test_pools_do_not_select_each_others_pods() -> None:
    """Two Deployments of one service never fight over pods."""
    found = chart.of_kind(chart.manifests(chart.case("gpu")), "Deployment").values()
    selectors = [tuple(sorted(each["spec"]["selector"]["matchLabels"].items())) for each in found]
    assert len(selectors) == len(set(selectors))


@pytest.mark.parametrize(
    ("switch", "kinds"),
    [
        ({"network": {"policies": False}}, ("NetworkPolicy",)),
        ({"monitoring": {"otlpEndpoint": ""}}, ("PodMonitor", "PrometheusRule")),
        ({"tls": {"mode": "secret"}}, ("Certificate", "Issuer")),
        (
            {"storage": {"objects": {"endpoint": "x:443"}, "database": {"migrateFirst": False}}},
            ("Job",),
        ),
    ],
    ids=str,
)
def test_what_is_turned_off_leaves_nothing(switch: dict[str, Any], kinds: tuple[str, ...]) -> None:
    """Removing a feature removes its objects."""
    values = chart.case("observability")
    assert set(kinds) <= {each["kind"] for each in chart.manifests(values)}
    assert not set(kinds) & {each["kind"] for each in chart.manifests(values | switch)}


def test_whole_numbers_stay_whole() -> None:
    """A setting of millions reaches the service in digits."""
    values = chart.case("minimal") | {
        "services": {"ingest": {"settings": {"part_bytes": 16 << 20, "sweep_seconds": 0.5}}}
    }
    deployment = chart.of_kind(chart.manifests(values), "Deployment")["chorale-ingest"]
    given = chart.variables(deployment)
    assert given["CHORALE_PART_BYTES"] == str(16 << 20)
    assert given["CHORALE_SWEEP_SECONDS"] == "0.5"


def _of_services(found: list[chart.Manifest]) -> list[chart.Manifest]:
    """The Deployments of services and of their pools: not the edge."""
    deployments = chart.of_kind(found, "Deployment").values()
    return [each for each in deployments if each["metadata"]["labels"][COMPONENT] in SERVICES]


def _peers(policy: chart.Manifest, way: str, end: str) -> set[str]:
    """The components that a policy lets through on one way."""
    return {
        peer["podSelector"]["matchLabels"].get(COMPONENT, "")
        for rule in policy["spec"].get(way, [])
        for peer in rule.get(end, [])
        if "podSelector" in peer
    } - {"first-sound", "edge", "database", "objects", ""}


def test_the_first_sound_is_let_in_everywhere_and_carries_its_script(
    found: list[chart.Manifest],
) -> None:
    """`helm test` may call every service, by address, and runs the script of the repository."""
    pod = chart.of_kind(found, "Pod")["chorale-first-sound"]
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    script = chart.of_kind(found, "ConfigMap")["chorale-first-sound"]["data"]["first-sound.py"]
    assert compile(script, "first-sound.py", "exec")
    told = {row["name"] for row in pod["spec"]["containers"][0]["env"]}
    assert {f"CHORALE_{name.upper()}_ADDRESS" for name in SERVICES} <= told
    policies = chart.of_kind(found, "NetworkPolicy")
    for name in SERVICES:
        peers = [
            peer["podSelector"]["matchLabels"].get(COMPONENT)
            for rule in policies[f"chorale-{name}"]["spec"]["ingress"]
            for peer in rule["from"]
            if "podSelector" in peer and {"port": 7400} in rule["ports"]
        ]
        assert pod["metadata"]["labels"][COMPONENT] in peers
