"""The manifests against Kubernetes' own schemas; those of Elastic's operator against its definitions, where ECK_CRDS names them.

The definitions (``config/crds/v1/all-crds.yaml`` of elastic/cloud-on-k8s) have a licence of their own, so they are not kept here.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from core.settings import ELASTICSEARCH_VERSION

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
MANIFESTS: dict[str, dict[str, Any]] = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(FOLDER.glob("*.yaml"))}
ELASTIC = ["elasticsearch", "kibana"]
NODES = MANIFESTS["elasticsearch"]["spec"]["nodeSets"]
JOB = MANIFESTS["ingest"]
KUBERNETES = "1.31"  # the oldest for which it must do


@pytest.fixture(scope="module")
def definitions() -> dict[str, Any]:
    named = os.environ.get("ECK_CRDS")
    if named is None:
        pytest.skip("ECK_CRDS does not name the definitions of Elastic's operator")
    return {each["spec"]["names"]["kind"]: each for each in yaml.safe_load_all(Path(named).read_text()) if each}


def closed(schema: Any) -> Any:
    """A structural schema that knows all its fields, as the API server checks with strict field validation."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made


@pytest.mark.parametrize("kind", ELASTIC)
def test_the_operators_definitions_allow_it(kind: str, definitions: dict[str, Any]) -> None:
    manifest = MANIFESTS[kind]
    (version,) = (each for each in definitions[manifest["kind"]]["spec"]["versions"] if each["name"] == "v1")
    schema = closed(version["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    jsonschema.validate(manifest, schema)
    manifest["spec"]["misspelt"] = True
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(manifest, schema)
    del manifest["spec"]["misspelt"]


@pytest.mark.parametrize("template", [*(nodes["podTemplate"] for nodes in NODES), MANIFESTS["kibana"]["spec"]["podTemplate"]])
def test_kubernetes_takes_the_pods_that_the_operator_makes(template: dict[str, Any]) -> None:
    named = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "any"}, "template": template}
    kubernetes_validate.validate(named, KUBERNETES, strict=True)
    for container in template["spec"]["containers"]:
        assert {"requests", "limits"} <= container["resources"].keys()


@pytest.mark.parametrize("claim", [claim for nodes in NODES for claim in nodes["volumeClaimTemplates"]])
def test_kubernetes_takes_the_volumes(claim: dict[str, Any]) -> None:
    kubernetes_validate.validate({"apiVersion": "v1", "kind": "PersistentVolumeClaim", **claim}, KUBERNETES, strict=True)
    assert claim["metadata"]["name"] == "elasticsearch-data"


def test_kubernetes_takes_the_job_and_it_may_do_nothing_but_its_work() -> None:
    kubernetes_validate.validate(JOB, KUBERNETES, strict=True)
    pod = JOB["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert not pod["automountServiceAccountToken"]
    (container,) = pod["containers"]
    security = container["securityContext"]
    assert security["readOnlyRootFilesystem"]
    assert not security["allowPrivilegeEscalation"]
    assert security["capabilities"]["drop"] == ["ALL"]
    assert {"requests", "limits"} <= container["resources"].keys()
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    (password,) = (each for each in container["env"] if "PASSWORD" in each["name"])
    assert password["valueFrom"].keys() == {"secretKeyRef"}


def test_the_job_uses_what_the_operator_makes_for_this_cluster() -> None:
    name = MANIFESTS["elasticsearch"]["metadata"]["name"]
    assert MANIFESTS["kibana"]["spec"]["elasticsearchRef"]["name"] == name
    text = (FOLDER / "ingest.yaml").read_text()
    for made in (f"https://{name}-es-http:9200", f"{name}-es-elastic-user", f"{name}-es-http-certs-public"):
        assert made in text


def test_the_version_is_the_one_of_everything_else() -> None:
    assert {MANIFESTS[kind]["spec"]["version"] for kind in ELASTIC} == {ELASTICSEARCH_VERSION}
