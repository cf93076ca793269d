"""The manifests for a GPU node: valid, hardened, and in step with the service that they start."""

import re
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from service.app import create_app
from service.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


@pytest.fixture(scope="module")
def kubernetes() -> dict[str, dict[str, Any]]:
    documents = yaml.safe_load_all((ROOT / "deploy" / "kubernetes.yaml").read_text())
    return {document["kind"]: document for document in documents}


@pytest.fixture(scope="module")
def pod(kubernetes: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return dict(kubernetes["Deployment"]["spec"]["template"]["spec"])


@pytest.fixture(scope="module")
def container(pod: dict[str, Any]) -> dict[str, Any]:
    (only,) = pod["containers"]
    return dict(only)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())["services"]["recontour"])


@pytest.fixture(scope="module")
def routes() -> set[str]:
    return set(create_app(Settings(model="none")).openapi()["paths"])


def test_every_kubernetes_object_fits_its_schema(kubernetes: dict[str, dict[str, Any]]) -> None:
    assert set(kubernetes) == {"Deployment", "Service", "NetworkPolicy"}
    for document in kubernetes.values():
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def test_a_misspelt_field_would_be_noticed(kubernetes: dict[str, dict[str, Any]]) -> None:
    wrong = {**kubernetes["Service"], "spec": {**kubernetes["Service"]["spec"], "portz": []}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, kubernetes_validate.latest_version(), strict=True)


def test_one_whole_gpu_is_asked_for(container: dict[str, Any], compose: dict[str, Any]) -> None:
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    (device,) = compose["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["count"], device["capabilities"]) == ("nvidia", 1, ["gpu"])


def test_an_instance_without_its_gpu_does_not_become_ready(container: dict[str, Any], compose: dict[str, Any]) -> None:
    """ONNX Runtime falls back to the CPU in silence; the service must be told that this is not wanted."""
    assert {"name": "RECONTOUR_DEVICE", "value": "cuda"} in container["env"]
    assert compose["environment"]["RECONTOUR_DEVICE"] == "cuda"


def test_the_probes_ask_real_routes(container: dict[str, Any], routes: set[str]) -> None:
    paths = {name: container[name]["httpGet"]["path"] for name in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert paths == {
        "startupProbe": "/health/ready",
        "readinessProbe": "/health/ready",
        "livenessProbe": "/health/live",
    }
    assert set(paths.values()) <= routes


def test_the_health_checks_of_image_and_compose_ask_a_real_route(compose: dict[str, Any], routes: set[str]) -> None:
    asked = re.findall(r"http://127\.0\.0\.1:8000(/[a-z/]+)", (ROOT / "Dockerfile").read_text())
    asked += re.findall(r"http://127\.0\.0\.1:8000(/[a-z/]+)", " ".join(compose["healthcheck"]["test"]))
    assert len(asked) == 2
    assert set(asked) <= routes


def test_nothing_runs_as_root_or_writes_to_the_root(pod: dict[str, Any], container: dict[str, Any]) -> None:
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}


def test_compose_hardens_the_container_as_kubernetes_does(compose: dict[str, Any]) -> None:
    assert compose["read_only"] is True
    assert compose["user"] == "10001:10001"
    assert compose["cap_drop"] == ["ALL"]
    assert compose["security_opt"] == ["no-new-privileges:true"]
    assert [mount.split(":")[0] for mount in compose["tmpfs"]] == ["/tmp"]
    assert compose["ports"] == ["127.0.0.1:8000:8000"]


def test_no_manifest_holds_a_key(container: dict[str, Any], compose: dict[str, Any]) -> None:
    (key,) = [entry for entry in container["env"] if entry["name"] == "RECONTOUR_API_KEY_SHA256"]
    assert set(key["valueFrom"]) == {"secretKeyRef"}
    assert compose["environment"]["RECONTOUR_API_KEY_SHA256"].startswith("${RECONTOUR_API_KEY_SHA256:?")


def test_every_variable_of_the_manifests_is_a_setting(container: dict[str, Any], compose: dict[str, Any]) -> None:
    known = {f"RECONTOUR_{name}".upper() for name in Settings.model_fields}
    in_image = re.findall(r"\b(RECONTOUR_[A-Z0-9_]+)=", (ROOT / "Dockerfile").read_text())
    assert in_image == ["RECONTOUR_MODELS_DIR"]
    assert {entry["name"] for entry in container["env"]} | set(compose["environment"]) | set(in_image) <= known


def test_kubernetes_does_not_set_variables_that_look_like_settings(pod: dict[str, Any]) -> None:
    """A Service called recontour would put RECONTOUR_PORT=tcp://... into every pod of its namespace."""
    assert pod["enableServiceLinks"] is False


def test_a_shutdown_has_time_to_finish_what_is_in_flight(pod: dict[str, Any], compose: dict[str, Any]) -> None:
    settings = {name: field.default for name, field in Settings.model_fields.items()}
    needed = settings["drain_s"] + settings["shutdown_s"]
    assert pod["terminationGracePeriodSeconds"] > needed
    assert float(compose["stop_grace_period"].removesuffix("s")) > needed


def test_a_cold_start_is_not_taken_for_a_dead_one(container: dict[str, Any]) -> None:
    probe = container["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 300


def test_the_service_reaches_the_container(kubernetes: dict[str, dict[str, Any]], container: dict[str, Any]) -> None:
    labels = kubernetes["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert kubernetes["Service"]["spec"]["selector"].items() <= labels.items()
    assert kubernetes["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    (port,) = container["ports"]
    assert (port["name"], port["containerPort"]) == ("http", 8000)
    assert [entry["targetPort"] for entry in kubernetes["Service"]["spec"]["ports"]] == ["http"]


def test_nothing_leaves_the_pod_unasked(kubernetes: dict[str, dict[str, Any]]) -> None:
    """No network fetch can be triggered by what was sent."""
    spec = kubernetes["NetworkPolicy"]["spec"]
    assert set(spec["policyTypes"]) == {"Ingress", "Egress"}
    assert spec["egress"] == []
    assert all(rule["from"] for rule in spec["ingress"])


def test_the_manifests_start_this_version(container: dict[str, Any], compose: dict[str, Any]) -> None:
    assert container["image"] == f"recontour:{VERSION}"
    assert compose["image"] == f"${{RECONTOUR_IMAGE:-recontour:{VERSION}}}"


def test_the_image_has_two_stages_a_numbered_user_and_no_training() -> None:
    text = (ROOT / "Dockerfile").read_text()
    stages = text.split("\nFROM ")
    assert len(stages) == 3
    build, final = stages[1:]
    assert "pip install" in build
    assert "pip install" not in final
    assert "USER 10001:10001" in final
    assert "HEALTHCHECK" in final
    assert 'ENTRYPOINT ["start.sh"]' in final
    assert not re.search(
        r"\b(torch|training\]|gcc|build-essential)\b",
        "\n".join(line for line in text.splitlines() if not line.startswith("#")),
    )
