"""What docker/ ships: valid by its schemas, and careful."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from greyd.config.options import OPTIONS
from greyd.config.vocabulary import Endpoint
from greyd.monitoring.web.host_check import HostCheck
from tests.pages.words import VARIABLES

DOCKER = Path(__file__).parents[2] / "docker"
COMPOSE = sorted([*DOCKER.glob("compose*.yaml"), *DOCKER.glob("examples/*.compose.yaml")])
KUBERNETES = DOCKER / "examples" / "kubernetes.yaml"
KUBERNETES_VERSION = "1.30"

each_file = pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.name)


def services(path: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(path.read_text())["services"]
    return found


@each_file
def test_a_compose_file_is_valid_by_the_specification(path: Path) -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*check, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@each_file
def test_each_service_has_few_rights_and_a_limit(path: Path) -> None:
    for name, service in services(path).items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["mem_limit"], name
        assert service["restart"] == "unless-stopped", name
        assert service["healthcheck"]["test"], name


def test_prometheus_asks_by_a_name_that_greyd_answers_to() -> None:
    jobs = yaml.safe_load((DOCKER / "prometheus.yml").read_text())["scrape_configs"]
    targets = [
        each for job in jobs for config in job["static_configs"] for each in config["targets"]
    ]
    names = services(DOCKER / "compose.yaml")["greyd"]["environment"]["GREYD_METRICS_HOST"].split()
    check = HostCheck(Endpoint("", 9923), names)
    assert all(check.allows(target, "172.17.0.2") for target in targets)
    assert not HostCheck(Endpoint("", 9923)).allows(targets[0], "172.17.0.2")


@each_file
def test_images_are_pinned(path: Path) -> None:
    for name, service in services(path).items():
        _, colon, tag = service["image"].rpartition(":")
        assert colon, name
        assert re.search(r"\d+\.\d+\.\d+", tag), name


@each_file
def test_ports_are_the_host_s_own_and_redis_has_none(path: Path) -> None:
    for name, service in services(path).items():
        assert "redis" not in name or "ports" not in service
        assert "sentinel" not in name or "ports" not in service
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), name


@each_file
def test_redis_forgets_nothing_by_itself_and_writes_down_what_it_knows(path: Path) -> None:
    for name, service in services(path).items():
        if "redis:" in service["image"] and "sentinel" not in name:
            told = "".join(service["command"])
            assert "maxmemory-policy noeviction" in told
            assert "appendonly yes" in told


@each_file
def test_no_password_stands_in_a_file(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"(?i)password: *[^&{\s/$]", text.replace("redis_password: {file", ""))
    assert not re.search(r"redis(\+\w+)?://[^@/\s]*:[^@/\s]+@", text)


@each_file
def test_what_is_mounted_exists(path: Path) -> None:
    for service in services(path).values():
        for volume in service.get("volumes", []):
            source = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", volume).split(":")[0]
            if source.startswith("."):
                assert (path.parent / source).exists(), source


@each_file
def test_variables_are_settings(path: Path) -> None:
    for name, service in services(path).items():
        given = service.get("environment", {})
        unknown = {each for each in given if each.startswith("GREYD_")} - VARIABLES
        assert not unknown, name


def test_kubernetes_takes_the_example() -> None:
    kinds = []
    for document in yaml.safe_load_all(KUBERNETES.read_text()):
        kinds.append(document["kind"])
        if document["kind"] != "ServiceMonitor":
            kubernetes_validate.validate(document, KUBERNETES_VERSION, strict=True)
    assert {"Deployment", "Service", "PodDisruptionBudget", "ServiceMonitor"} <= set(kinds)


def test_the_service_monitor_asks_a_port_that_the_service_has() -> None:
    # Its schema is not in Kubernetes, so what it refers to is looked at.
    documents = {each["kind"]: each for each in yaml.safe_load_all(KUBERNETES.read_text())}
    monitor, service = documents["ServiceMonitor"], documents["Service"]
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert set(monitor["spec"]) == {"selector", "endpoints"}
    ports = {port["name"] for port in service["spec"]["ports"]}
    assert {each["port"] for each in monitor["spec"]["endpoints"]} <= ports
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    assert wanted <= service["metadata"]["labels"].items()


def test_the_deployment_s_variables_are_settings() -> None:
    documents = {each["kind"]: each for each in yaml.safe_load_all(KUBERNETES.read_text())}
    (container,) = documents["Deployment"]["spec"]["template"]["spec"]["containers"]
    names = {each["name"] for each in container["env"]}
    assert names <= {option.variable for option in OPTIONS}
