"""Kubernetes as a store: the double of its API server, with pods for the members."""
import json
import ssl
import sys

from stores import DOUBLES, Store

TOKEN = "secret-token"


class Kubernetes(Store):
    section = "kubernetes"
    kind = "configmaps"
    token = TOKEN
    lock_request = r"(PATCH|POST) .*"
    write_request = r"(PATCH|POST) .*(-failover|configmaps|endpoints)"
    sync_request = r"(PATCH|POST) .*-sync"
    removes_members = False  # pods are not ours to remove
    # a member is a pod: it outlives its process
    members_expire = False

    def prepare(self):
        if "--cert" in self.options.get("arguments", ()):
            self.tls_context = ssl.create_default_context()
            self.tls_context.check_hostname = False
            self.tls_context.verify_mode = ssl.CERT_NONE

    def command(self):
        return [sys.executable, str(DOUBLES / "kubernetes.py"), "--port", str(self.client),
                "--data", str(self.directory / f"{self.kind}.json"),
                *self.options.get("arguments", ())]

    @property
    def url(self):
        scheme = "https" if self.tls_context else "http"
        return f"{scheme}://{self.host}:{self.client}"

    def api(self, path, method="GET", body=None, media="application/json"):
        headers = {"Authorization": f"Bearer {self.token}"}
        if body is not None:
            headers["Content-Type"] = media
        status, text = self.http(path, method, json.dumps(body).encode() if body else None,
                                 headers)
        return status, json.loads(text)

    def ready(self):
        return self.api("/api/v1/namespaces/default/pods")[0] == 200

    def rotate(self, token):
        """Another token, in the file, too; the old one is refused."""
        (self.directory / "credentials" / "token").write_text(token)
        self.order(tokens=[token])
        self.token = token

    def order(self, **what):
        assert self.api("/double", "POST", what)[0] == 200

    def member(self, scope, name):
        """The pod that the member runs in."""
        labels = {"application": "patroni", "cluster-name": scope}
        self.order(put={"ns": scope, "resource": "pods", "name": name, "labels": labels,
                        "status": {"podIP": "127.0.0.1"}, "spec": {"nodeName": "host"}})

    def config(self, scope="test"):
        """A namespace for each scope: pods of two may have the same name."""
        return dict(self.node_config(scope), kubeconfig={
            "server": f"http://{self.host}:{self.port}", "token": TOKEN})

    def node_config(self, scope="test"):
        """For the daemon, which reads the kubeconfig itself."""
        return {"labels": {"application": "patroni"}, "namespace": scope,
                "use_endpoints": self.kind == "endpoints"}

    def node_environment(self):
        path, token = self.directory / "kubeconfig", self.directory / "credentials" / "token"
        token.parent.mkdir(exist_ok=True)
        token.write_text(self.token)
        # JSON is YAML
        path.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config",
            "contexts": [{"name": "kind-kind", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {
                "server": f"http://{self.host}:{self.port}"}}],
            "users": [{"name": "u", "user": {"tokenFile": "credentials/token"}}]}))
        return {"KUBECONFIG": str(path)}

    # -- past the driver

    def object_of(self, path):
        _, _, scope, key = path.split("/", 3)
        suffix = {"leader": "" if self.kind == "endpoints" else "-leader",
                  "failover": "-failover", "sync": "-sync"}.get(
                      "leader" if key in ("status", "failsafe") else key, "-config")
        return key, f"/api/v1/namespaces/{scope}/{self.kind}/{scope}{suffix}", scope, suffix

    def get(self, path):
        key, url, _, _ = self.object_of(path)
        status, found = self.api(url)
        if status == 404:
            return None, None
        notes = found["metadata"].get("annotations") or {}
        if key == "status":
            if "optime" not in notes:
                return None, None
            value = {"optime": int(notes["optime"])}
            value.update((k, json.loads(notes[k])) for k in ("slots", "retain_slots")
                         if k in notes)
            return json.dumps(value), found
        if key in ("sync", "failover"):
            value = dict(notes)
            if "quorum" in value:
                value["quorum"] = int(value["quorum"])
            return json.dumps(value), found
        return (notes[key], found) if key in notes else (None, None)

    def put(self, path, value):
        key, url, scope, suffix = self.object_of(path)
        notes = {key: value}
        if key == "leader":
            # a lock that lives: its owner has written something new
            notes["renewTime"] = "put by the test"
        if key in ("sync", "failover", "status"):
            notes = {k: v if isinstance(v, str) else json.dumps(v)
                     for k, v in json.loads(value).items()}
        if self.api(url)[0] == 404:
            labels = {"application": "patroni", "cluster-name": scope}
            body = {"kind": "ConfigMap" if self.kind == "configmaps" else "Endpoints",
                    "apiVersion": "v1", "metadata": {
                        "name": scope + suffix, "labels": labels, "annotations": notes}}
            assert self.api(url.rsplit("/", 1)[0], "POST", body)[0] == 201
            return
        self.patch(url, notes)

    def patch(self, url, notes):
        status, text = self.api(url, "PATCH", {"metadata": {"annotations": notes}},
                                "application/merge-patch+json")
        assert status == 200, text

    def delete(self, path):
        key, url, _, _ = self.object_of(path)
        if self.api(url)[0] == 200:
            self.patch(url, {key: None})

    @staticmethod
    def created(entry):
        notes = entry["metadata"]["annotations"]
        return notes.get("acquireTime"), notes.get("transitions")


class KubernetesEndpoints(Kubernetes):
    kind = "endpoints"
