"""What ships for clusters: Ray takes its own, and the versions and names in them are those of the code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.data._internal.execution.interfaces.op_runtime_metrics import OpRuntimeMetrics

FIELDS: Mapping[str, set[str]] = {
    "spec": {
        *("activeDeadlineSeconds", "backoffLimit", "clusterSelector", "entrypoint", "rayClusterSpec", "runtimeEnvYAML"),
        *("shutdownAfterJobFinishes", "submissionMode", "submitterPodTemplate", "suspend", "ttlSecondsAfterFinished"),
    },
    "rayClusterSpec": {
        *("autoscalerOptions", "enableInTreeAutoscaling", "headGroupSpec", "headServiceAnnotations", "rayVersion"),
        *("suspend", "workerGroupSpecs"),
    },
    "headGroupSpec": {"enableIngress", "headService", "rayStartParams", "serviceType", "template"},
    "workerGroupSpecs": {
        *("groupName", "maxReplicas", "minReplicas", "numOfHosts", "rayStartParams", "replicas", "scaleStrategy"),
        "template",
    },
}
"""Fields of KubeRay's Go types for ``ray.io/v1``: one that is misspelt would be dropped without a word."""


def test_ray_takes_the_cluster() -> None:
    config = yaml.safe_load(Path("cluster.yaml").read_text())
    prepared = prepare_config(config)
    validate_config(prepared)
    nodes = prepared["available_node_types"]
    assert nodes["head"]["resources"] == {"CPU": 0}
    assert nodes["head"]["max_workers"] == 0
    assert nodes["worker"]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert all("IamInstanceProfile" in node["node_config"] for node in nodes.values())
    assert prepared["docker"]["image"] == f"rayproject/ray:{version('ray')}-py311"


def test_the_job_of_kubernetes_has_no_field_that_is_not_there() -> None:
    job = yaml.safe_load(Path("cluster/rayjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert set(job["spec"]) <= FIELDS["spec"]
    spec = job["spec"]["rayClusterSpec"]
    assert set(spec) <= FIELDS["rayClusterSpec"]
    assert set(spec["headGroupSpec"]) <= FIELDS["headGroupSpec"]
    assert spec["rayVersion"] == version("ray")
    for group in spec["workerGroupSpecs"]:
        assert set(group) <= FIELDS["workerGroupSpecs"]
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        assert _pods_fields(group["template"]["spec"])


def _pods_fields(pod: Mapping[str, Any]) -> bool:
    known = {"name", "image", "env", "envFrom", "ports", "resources", "volumeMounts"}
    return set(pod) <= {"containers", "volumes", "terminationGracePeriodSeconds"} and all(
        set(container) <= known for container in pod["containers"]
    )


def test_the_same_ray_is_locked() -> None:
    locked = re.search(r"^ray==([\d.]+)", Path("requirements.lock").read_text(), re.MULTILINE)
    assert locked is not None
    assert locked.group(1) in Path("cluster.yaml").read_text()


def test_the_dashboard_shows_what_is_counted() -> None:
    panels = Path("cluster/grafana.json").read_text()
    shown = set(re.findall(r"ray_(lvqa_[a-z_]+?)(?:_total)?\b", panels))
    code = Path("lvqa_ray/engine/ray/metrics.py").read_text()
    counted = set(re.findall(r'"(lvqa_[a-z_]+)"', code)) | {"lvqa_videos", "lvqa_clips", "lvqa_questions"}
    assert shown == counted - {"lvqa_"}
    of_ray = {metric.name for metric in OpRuntimeMetrics.get_metrics()}
    assert set(re.findall(r"ray_data_([a-z_]+)", panels)) <= of_ray
