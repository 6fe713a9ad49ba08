"""A double of the Kubernetes API server, for the part that a store driver uses.

Strict: whatever the real one refuses is refused, with its status and a Status
object as body.  Enforced, with the source in the Kubernetes documentation
(kubernetes.io/docs/reference unless said otherwise):

  * Paths: /api/v1/namespaces/<ns>/{pods,endpoints,configmaps,services}[/<name>];
    anything else 404.  (API overview, "Resource URIs")
  * Methods: GET, POST and DELETE on a collection; GET, PATCH and DELETE on an
    object; anything else 405.  (API concepts, "Standard API terminology")
  * Query parameters: known ones only and well-formed: labelSelector, watch,
    resourceVersion, allowWatchBookmarks, timeoutSeconds, limit.  The real one
    passes over unknown ones; here they are 400, because they are mistakes.
  * Bearer token or client authentication: 401 Unauthorized without a valid
    one, 403 Forbidden where `forbidden` says so.  (Authenticating; Using RBAC)
  * POST: Content-Type application/json (415 otherwise); kind and apiVersion
    must fit, metadata.name is needed (422), a namespace that differs from the
    path's is 400, an existing name is 409 AlreadyExists.
  * PATCH: application/merge-patch+json, application/strategic-merge-patch+json
    or application/json-patch+json, 415 otherwise (of these the last is not
    implemented and answers 501); metadata.resourceVersion in the body is a
    precondition: 409 Conflict when it differs.  null deletes a map's key,
    other values of maps are merged, lists are replaced (Endpoints.subsets and
    its lists have no merge key).  404 when there is no such object; only POST
    creates.  A patch that changes nothing keeps the resourceVersion.
    (API concepts, "Patch"; "Update API Objects in Place Using kubectl patch")
  * Annotations and labels are maps of strings: 400 otherwise; label values are
    at most 63 characters of [A-Za-z0-9._-]; names are DNS-1123 subdomains:
    422 Invalid.  (Labels and Selectors; Object Names and IDs)
  * Annotations together at most 256 KiB: 422.  (Annotations)
  * resourceVersion: one counter for all, opaque text, larger with each write.
    (API concepts, "Resource versions")
  * Watch: 200 and one JSON document a line, {"type", "object"}, from the given
    resourceVersion on; ADDED, MODIFIED, DELETED; an object that leaves the
    selection is DELETED, one that enters it ADDED; a BOOKMARK now and then
    when allowed, carrying only kind, apiVersion and resourceVersion; a version
    that is not kept any more: 200 and an ERROR event with a Status of code 410
    "Expired"; it ends after timeoutSeconds.  (API concepts, "Efficient
    detection of changes", "Watch bookmarks", "410 Gone responses")
  * Lists carry metadata.resourceVersion; items carry neither kind nor
    apiVersion.  (API concepts, "Collections")
  * DELETE of a collection needs the verb deletecollection.
  * Errors: {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status":
    "Failure", "message", "reason", "details"?, "code"}; 429 carries Retry-After
    (API priority and fairness).

A process of its own; what it knows outlives a kill in the file of --data.  A
test commands it by POST /double with a JSON object: put, drop, broken (status,
Retry-After or null, times), forbidden, tokens, forget_events.
"""
import argparse
import json
import os
import pathlib
import re
import ssl
import threading
import time
import urllib.parse
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KINDS = {"pods": "Pod", "endpoints": "Endpoints", "configmaps": "ConfigMap",
         "services": "Service"}
REASONS = {400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound",
           405: "MethodNotAllowed", 409: "Conflict", 410: "Expired", 415: "UnsupportedMediaType",
           422: "Invalid", 429: "TooManyRequests", 500: "InternalError", 501: "NotImplemented",
           503: "ServiceUnavailable", 504: "Timeout"}
NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")
LABEL = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?\Z")
PARAMETERS = {"labelSelector", "watch", "resourceVersion", "allowWatchBookmarks",
              "timeoutSeconds", "limit"}
BOOKMARK_EVERY = 2.0
KEEP = 400  # events; a watch from before them is 410


class Problem(Exception):
    def __init__(self, code, message, reason=None, retry_after=None):
        super().__init__(message)
        self.code = code
        self.reason = reason or REASONS[code]
        self.retry_after = retry_after

    def status(self):
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": str(self), "reason": self.reason, "code": self.code}


def merge(old, patch):
    """A strategic merge of the kinds that are here: maps merged, lists replaced."""
    new = dict(old)
    for key, value in patch.items():
        if value is None:
            new.pop(key, None)
        elif isinstance(value, dict) and isinstance(new.get(key), dict):
            new[key] = merge(new[key], value)
        elif isinstance(value, dict):
            new[key] = merge({}, value)
        else:
            new[key] = value
    return new


def parse_selector(text):
    wanted = {}
    for part in filter(None, text.split(",")):
        match = re.fullmatch(r"\s*([-A-Za-z0-9_./]+)\s*==?\s*([-A-Za-z0-9_.]*)\s*", part)
        if not match:
            raise Problem(400, f"unable to parse requirement: {part!r}")
        wanted[match.group(1)] = match.group(2)
    return wanted


def boolean(text):
    if text not in ("1", "t", "T", "true", "TRUE", "True", "0", "f", "F", "false", "FALSE",
                    "False"):
        raise Problem(400, f"invalid boolean {text!r}")
    return text[0] in "1tT"


def check_strings(metadata, field):
    values = metadata.get(field)
    if values is None:
        return
    if not isinstance(values, dict) or not all(isinstance(v, str) for v in values.values()):
        raise Problem(400, f"{field}: a map of strings is expected")
    if field == "labels":
        for key, value in values.items():
            if len(value) > 63 or not LABEL.match(value):
                raise Problem(422, f"metadata.labels: Invalid value for {key}: {value!r}")
    elif sum(len(k) + len(v) for k, v in values.items()) > 256 * 1024:
        raise Problem(422, "metadata.annotations: Too long: must have at most 262144 bytes")


class Kubernetes:
    def __init__(self, port, data, host="127.0.0.1", token="secret-token", tls=None):
        self.data = data
        self.port = port
        self.host = host
        self.tokens = {token}
        self.forbidden = set()  # (verb, resource)
        self.broken = None
        self.tls = tls
        self.objects = {}  # (ns, resource, name) -> object
        self.version = 1000
        self.events = []  # (version, ns, resource, old, new)
        self.oldest = self.version
        self.changed = threading.Condition()
        self.http = None
        self.running = False
        if data.exists():
            version, objects = json.loads(data.read_text())
            # events are not kept: a watch from before the restart is 410
            self.version = self.oldest = version + 1
            self.objects = {tuple(k): v for k, v in objects}

    # -- life

    def start(self):
        double = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *_):
                pass

            def handle_any(self):
                double.handle(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = handle_any

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64
            # a connection that the client has left is no news
            handle_error = staticmethod(lambda *_: None)

        self.http = Server((self.host, self.port), Handler)
        if self.tls:
            self.http.socket = self.tls.wrap_socket(self.http.socket, server_side=True)
        self.running = True
        self.http.serve_forever(poll_interval=0.05)

    # -- state, also for the tests

    def bump(self):
        self.version += 1
        return str(self.version)

    def note(self, ns, resource, old, new):
        self.events.append((self.version, ns, resource, old, new))
        if len(self.events) > KEEP:
            self.oldest = self.events[0][0]
            del self.events[0]
        made = self.data.with_suffix(".new")
        made.write_text(json.dumps([self.version, [[list(k), v] for k, v in self.objects.items()]]))
        os.replace(made, self.data)
        self.changed.notify_all()

    def forget_events(self):
        """As after a compaction: watches from earlier versions are 410."""
        with self.changed:
            self.events.clear()
            self.bump()
            self.oldest = self.version
            self.changed.notify_all()

    def put(self, ns, resource, name, labels, annotations=None, **more):
        """Past the API: make or change an object."""
        with self.changed:
            key = (ns, resource, name)
            old = self.objects.get(key)
            new = merge(old or {}, {"metadata": {
                "name": name, "namespace": ns, "labels": labels,
                "annotations": annotations or {}}, **more})
            new["metadata"].setdefault("uid", str(uuid.uuid4()))
            new["metadata"]["resourceVersion"] = self.bump()
            self.objects[key] = new
            self.note(ns, resource, old, new)

    def drop(self, ns, resource, name):
        with self.changed:
            old = self.objects.pop((ns, resource, name), None)
            if old is not None:
                self.bump()
                gone = dict(old, metadata=dict(
                    old["metadata"], resourceVersion=str(self.version)))
                self.note(ns, resource, gone, None)

    def command(self, order):
        if "put" in order:
            self.put(**order["put"])
        if "drop" in order:
            self.drop(*order["drop"])
        with self.changed:
            if "broken" in order:
                self.broken = order["broken"]
            if "forbidden" in order:
                self.forbidden = {tuple(f) for f in order["forbidden"]}
            if "tokens" in order:
                self.tokens = set(order["tokens"])
        if order.get("forget_events"):
            self.forget_events()

    # -- requests

    def handle(self, h):
        size = int(h.headers.get("Content-Length") or 0)
        body = h.rfile.read(size) if size else b""
        url = urllib.parse.urlsplit(h.path)
        if url.path == "/double" and h.command == "POST":
            self.command(json.loads(body))
            self.reply(h, 200, {})
            return
        try:
            self.check(h)
            query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True,
                                                strict_parsing=bool(url.query)))
            unknown = set(query) - PARAMETERS
            if unknown:
                raise Problem(400, f"unknown parameters {sorted(unknown)}")
            match = re.fullmatch(r"/api/v1/namespaces/([^/]+)/(\w+)(?:/([^/]+))?", url.path)
            if not match or match.group(2) not in KINDS:
                raise Problem(404, "the server could not find the requested resource")
            ns, resource, name = match.groups()
            self.allow(h.command, resource, name, query)
            if h.command == "GET" and name is None and boolean(query.get("watch", "false")):
                self.watch(h, ns, resource, query)
                return
            code, answer = self.act(h, ns, resource, name, query, body)
        except Problem as problem:
            code, answer = problem.code, problem.status()
            if problem.retry_after is not None:
                self.reply(h, code, answer, {"Retry-After": str(problem.retry_after)})
                return
        except ValueError as error:
            code, answer = 400, Problem(400, f"malformed request: {error}").status()
        self.reply(h, code, answer)

    def reply(self, h, code, answer, headers=None):
        data = json.dumps(answer).encode()
        h.send_response(code)
        h.send_header("Content-Type", "application/json")
        h.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            h.send_header(name, value)
        h.end_headers()
        h.wfile.write(data)

    def check(self, h):
        with self.changed:
            if self.broken and self.broken[2] > 0:
                code, after, times = self.broken
                self.broken = (code, after, times - 1)
                raise Problem(code, "the double was told to fail", retry_after=after)
        words = (h.headers.get("Authorization") or "").split(" ")
        if len(words) != 2 or words[0] != "Bearer" or words[1] not in self.tokens:
            raise Problem(401, "Unauthorized")

    def allow(self, method, resource, name, query):
        verbs = {"GET": "get" if name else "list", "POST": "create", "PATCH": "patch",
                 "DELETE": "delete" if name else "deletecollection"}
        verb = verbs.get(method)
        if verb is None or (method == "POST" and name) or (method == "PATCH" and not name):
            raise Problem(405, "the server does not allow this method on the requested resource")
        if verb == "list" and boolean(query.get("watch", "false")):
            verb = "watch"
        if (verb, resource) in self.forbidden:
            raise Problem(403, f'{resource} is forbidden: User "double" cannot {verb} resource '
                               f'"{resource}" in API group ""')

    def act(self, h, ns, resource, name, query, body):
        with self.changed:
            if h.command == "GET" and name is None:
                return 200, self.list(ns, resource, query)
            if h.command == "GET":
                return 200, self.shown(resource, self.need(ns, resource, name))
            if h.command == "POST":
                return 201, self.create(h, ns, resource, json.loads(body))
            if h.command == "PATCH":
                return 200, self.patch(h, ns, resource, name, body)
            return 200, self.delete(ns, resource, name, query)

    def need(self, ns, resource, name):
        found = self.objects.get((ns, resource, name))
        if found is None:
            raise Problem(404, f'{resource} "{name}" not found')
        return found

    @staticmethod
    def shown(resource, found):
        return dict({"kind": KINDS[resource], "apiVersion": "v1"}, **found)

    def selected(self, ns, resource, query):
        wanted = parse_selector(query.get("labelSelector", ""))

        def fits(found):
            labels = found["metadata"].get("labels") or {}
            return all(labels.get(k) == v for k, v in wanted.items())
        return fits, [o for (n, r, _), o in self.objects.items()
                      if n == ns and r == resource and fits(o)]

    def list(self, ns, resource, query):
        _, items = self.selected(ns, resource, query)
        return {"kind": KINDS[resource] + "List", "apiVersion": "v1",
                "metadata": {"resourceVersion": str(self.version)}, "items": items}

    @staticmethod
    def media(h):
        return (h.headers.get("Content-Type") or "").split(";")[0].strip()

    def validate(self, found):
        metadata = found["metadata"]
        check_strings(metadata, "labels")
        check_strings(metadata, "annotations")
        if not NAME.match(metadata["name"]) or len(metadata["name"]) > 253:
            raise Problem(422, f"metadata.name: Invalid value: {metadata['name']!r}")
        for subset in found.get("subsets") or []:
            for address in subset.get("addresses") or []:
                if not re.fullmatch(r"[0-9a-f.:]+", address.get("ip", "")):
                    raise Problem(422, "subsets.addresses.ip: Invalid value")
            for port in subset.get("ports") or []:
                if not isinstance(port.get("port"), int) or not 0 < port["port"] < 65536:
                    raise Problem(422, "subsets.ports.port: Invalid value")
            if len(subset.get("ports") or []) > 1 and not all(
                    p.get("name") for p in subset["ports"]):
                raise Problem(422, "subsets.ports.name: Required value")

    def create(self, h, ns, resource, new):
        if self.media(h) != "application/json":
            raise Problem(415, "the body of the request was in an unknown format")
        if new.get("kind") != KINDS[resource] or new.get("apiVersion") != "v1":
            raise Problem(400, "the object provided is unrecognized (must be of type "
                               f"{KINDS[resource]})")
        metadata = new.get("metadata") or {}
        name = metadata.get("name")
        if not name:
            raise Problem(422, "metadata.name: Required value: name or generateName is required")
        if metadata.get("namespace", ns) != ns:
            raise Problem(400, "the namespace of the provided object does not match the "
                               "namespace sent on the request")
        if metadata.get("resourceVersion"):
            raise Problem(400, "resourceVersion should not be set on objects to be created")
        if (ns, resource, name) in self.objects:
            raise Problem(409, f'{resource} "{name}" already exists', "AlreadyExists")
        new = {k: v for k, v in new.items() if k not in ("kind", "apiVersion")}
        new["metadata"] = dict(metadata, namespace=ns, uid=str(uuid.uuid4()))
        self.validate(new)
        new["metadata"]["resourceVersion"] = self.bump()
        self.objects[(ns, resource, name)] = new
        self.note(ns, resource, None, new)
        return self.shown(resource, new)

    def patch(self, h, ns, resource, name, body):
        if self.media(h) == "application/json-patch+json":
            raise Problem(501, "JSON patch is not part of this double")
        if self.media(h) not in ("application/merge-patch+json",
                                 "application/strategic-merge-patch+json"):
            raise Problem(415, "the body of the request was in an unknown format - accepted "
                               "media types include: application/json-patch+json, "
                               "application/merge-patch+json, "
                               "application/strategic-merge-patch+json")
        patch = json.loads(body)
        old = self.need(ns, resource, name)
        metadata = dict(patch.get("metadata") or {})
        expected = metadata.pop("resourceVersion", None)
        if expected is not None and not isinstance(expected, str):
            raise Problem(400, "resourceVersion: a string is expected")
        if expected is not None and expected != old["metadata"]["resourceVersion"]:
            raise Problem(409, f'Operation cannot be fulfilled on {resource} "{name}": the object '
                               "has been modified; please apply your changes to the latest "
                               "version and try again")
        if metadata.get("name", name) != name or metadata.get("namespace", ns) != ns:
            raise Problem(400, "the name of the object does not match the name on the URL")
        new = merge(old, dict(patch, metadata=metadata))
        new.pop("kind", None)
        new.pop("apiVersion", None)
        self.validate(new)
        if new == old:
            return self.shown(resource, old)
        new["metadata"]["resourceVersion"] = self.bump()
        self.objects[(ns, resource, name)] = new
        self.note(ns, resource, old, new)
        return self.shown(resource, new)

    def delete(self, ns, resource, name, query):
        if name is not None:
            self.need(ns, resource, name)
            names = [name]
        else:
            names = [o["metadata"]["name"] for o in self.selected(ns, resource, query)[1]]
        for one in names:
            self.drop(ns, resource, one)
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}

    # -- watch

    def watch(self, h, ns, resource, query):
        version = query.get("resourceVersion", "0")
        if not version.isdigit():
            raise Problem(400, f"invalid resource version {version!r}")
        fits, _ = self.selected(ns, resource, query)
        bookmarks = boolean(query.get("allowWatchBookmarks", "false"))
        end = time.monotonic() + float(query.get("timeoutSeconds", 1800))
        h.send_response(200)
        h.send_header("Content-Type", "application/json")
        h.send_header("Transfer-Encoding", "chunked")
        h.end_headers()

        def send(kind, found):
            line = json.dumps({"type": kind, "object": found}).encode() + b"\n"
            h.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        at = int(version)
        if at < self.oldest and at != 0:
            send("ERROR", Problem(410, f"too old resource version: {at} ({self.oldest})")
                 .status())
            h.wfile.write(b"0\r\n\r\n")
            return
        self.follow(h, ns, resource, fits, bookmarks, at, end, send)
        h.wfile.write(b"0\r\n\r\n")

    def follow(self, h, ns, resource, fits, bookmarks, at, end, send):
        marked = time.monotonic()
        while self.running and time.monotonic() < end:
            with self.changed:
                news = [e for e in self.events if e[0] > at]
                if not news:
                    self.changed.wait(0.5)
                    news = [e for e in self.events if e[0] > at]
                if at < self.oldest and not news and self.version > at:
                    send("ERROR", Problem(410, "too old resource version").status())
                    return
            for version, n, r, old, new in news:
                at = version
                if n != ns or r != resource:
                    continue
                was = old is not None and fits(old)
                fit = new is not None and fits(new)
                if fit:
                    send("MODIFIED" if was else "ADDED", self.shown(resource, new))
                elif was:
                    send("DELETED", self.shown(resource, dict(old, metadata=dict(
                        old["metadata"], resourceVersion=str(version)))))
            if bookmarks and time.monotonic() - marked > BOOKMARK_EVERY:
                marked = time.monotonic()
                send("BOOKMARK", {"kind": KINDS[resource], "apiVersion": "v1", "metadata": {
                    "resourceVersion": str(at), "creationTimestamp": None}})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--cert")
    parser.add_argument("--key")
    options = parser.parse_args()
    tls = None
    if options.cert:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(options.cert, options.key)
    Kubernetes(options.port, options.data, tls=tls).start()


if __name__ == "__main__":
    main()
