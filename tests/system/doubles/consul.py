"""A strict double of one Consul agent (with its server), for the tests.

No package of Consul can be installed where the tests run.  What is enforced
here is what Consul's documentation and the messages of its server say; the
sources are its HTTP API reference (developer.hashicorp.com/consul/api-docs:
kv, session, txn, agent/service, features/blocking, features/consistency) and
its guide to sessions and locks (docs/dynamic-app-config/sessions):

 1. kv: GET, PUT, DELETE and their parameters; anything else is an error (405
    with Allow, or 400: the real server ignores unknown parameters, the double
    does not, so that a mistake shows).  404 with an empty body for no key.
    PUT and DELETE answer `true` or `false`.  cas=0 creates only; a delete-cas
    of no key is true.  cas together with acquire or release: 400.
 2. Values are base64 in answers, null when empty; every entry has LockIndex,
    Key, Flags, Value, CreateIndex, ModifyIndex, and Session when locked.
 3. acquire with an unknown session: 500 `invalid session "..."`.  A key that
    another session holds, or that is under lock-delay: false.  Acquiring
    again with the same session is true and does not count LockIndex up.
 4. Sessions: PUT create with known fields only; TTL between session_ttl_min
    (10s by default) and 24h, else 500 `Invalid Session TTL '...', must be
    between [10s=24h0m0s]`; unknown checks: 500 `Missing check '...'
    registration`.  A session lives for twice its TTL after the last renewal.
    Its end releases or deletes its keys (Behavior) and puts them under
    LockDelay.  renew of an unknown id: 404.
 5. Blocking queries: index > 0 waits for a change under the key or prefix
    (deletes count), for `wait` (5m by default, 10m at most) plus up to a 16th;
    X-Consul-Index is never 0 and is the index of that key or prefix, not of
    everything.  consistent together with stale: 400.
 6. txn: PUT of at most 64 operations, all or nothing: 200 with Results, or
    409 with Errors.
 7. Tokens: X-Consul-Token must be the one, else 403 `Permission denied`.
 8. dc: another one than ours: 500 `No path to datacenter`.
 9. agent/self, agent/services, agent/service/register and deregister.
10. State is kept over a restart (it is in the servers' log); with SIGUSR1
    all sessions end, as when the agent's node turns critical.  SIGUSR2: no
    leader from now on (500 `No cluster leader`), or again one.
"""
import argparse
import base64
import json
import pathlib
import re
import signal
import ssl
import threading
import time
import urllib.parse
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}
SESSION_FIELDS = {"name", "node", "lockdelay", "checks", "nodechecks", "servicechecks",
                  "behavior", "ttl"}
SERVICE_FIELDS = {"name", "id", "address", "port", "tags", "enabletagoverride", "check",
                  "checks", "meta"}
CHECK_FIELDS = {"http", "interval", "deregistercriticalserviceafter", "tlsservername",
                "timeout", "name"}


class Refused(Exception):
    def __init__(self, status, text, **headers):
        super().__init__(text)
        self.status, self.text, self.headers = status, text, headers


def duration(text):
    parts = re.findall(r"(\d+(?:\.\d+)?)(ns|us|ms|s|m|h)", text)
    if not parts or "".join(n + u for n, u in parts) != text:
        raise Refused(400, f'time: invalid duration "{text}"')
    return sum(float(n) * UNITS[u] for n, u in parts)


def lowered(body, allowed, what):
    """The fields of a body (names in any case), unknown ones are refused."""
    if not isinstance(body, dict):
        raise Refused(400, f"Request decode failed: {what} is no object")
    fields = {k.lower(): v for k, v in body.items()}
    unknown = set(fields) - allowed
    if unknown:
        raise Refused(400, f"Request decode failed: unknown fields {sorted(unknown)}")
    return fields


class State:
    def __init__(self, options):
        self.options = options
        self.file = pathlib.Path(options.data)
        self.changed = threading.Condition()
        self.index = 10
        self.keys = {}      # key -> entry
        self.touched = {}   # key -> index of its last change, deletes too
        self.sessions = {}
        self.expiry = {}    # session -> monotonic time
        self.delays = {}    # key -> monotonic time until which it is under lock-delay
        self.services = {}
        self.leader = True
        if self.file.exists():
            saved = json.loads(self.file.read_text())
            self.index, self.keys, self.touched, self.sessions = saved
            for s in self.sessions:
                self.revive(s)

    def save(self):
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps([self.index, self.keys, self.touched, self.sessions]))
        new.replace(self.file)

    def revive(self, session):
        ttl = self.sessions[session]["TTL"]
        if ttl:
            self.expiry[session] = time.monotonic() + 2 * duration(ttl)

    # -- all below under the lock

    def step(self):
        self.index += 1
        return self.index

    def touch(self, key):
        self.touched[key] = self.index
        self.save()
        self.changed.notify_all()

    def prefix_index(self, key, recurse):
        found = [i for k, i in self.touched.items()
                 if (k.startswith(key) if recurse else k == key)]
        return max(found, default=max(self.touched.values(), default=1) if recurse else 1)

    def set(self, key, value, flags=0):
        index = self.step()
        old = self.keys.get(key)
        entry = dict(old) if old else {"LockIndex": 0, "Key": key, "CreateIndex": index}
        entry.update(Value=value, Flags=flags, ModifyIndex=index)
        self.keys[key] = entry
        self.touch(key)
        return True

    def delete(self, key):
        if key in self.keys:
            self.step()
            del self.keys[key]
            self.touch(key)
        return True

    def cas_fits(self, key, cas):
        old = self.keys.get(key)
        return old is None if cas == 0 else old is not None and old["ModifyIndex"] == cas

    def delete_cas(self, key, cas):
        if key not in self.keys:
            return True
        return self.cas_fits(key, cas) and self.delete(key)

    def lock(self, key, value, session):
        if session not in self.sessions:
            raise Refused(500, f'invalid session "{session}"')
        held = self.keys.get(key, {}).get("Session")
        if held not in (None, session) or self.delays.get(key, 0) > time.monotonic():
            return False
        self.set(key, value)
        entry = self.keys[key]
        if held is None:
            entry["LockIndex"] += 1
        entry["Session"] = session
        self.touch(key)
        return True

    def unlock(self, key, value, session):
        if self.keys.get(key, {}).get("Session") != session:
            return False
        self.set(key, value)
        del self.keys[key]["Session"]
        self.touch(key)
        return True

    def end_session(self, session):
        ended = self.sessions.pop(session, None)
        self.expiry.pop(session, None)
        if ended is None:
            return
        for key in [k for k, e in self.keys.items() if e.get("Session") == session]:
            if ended["Behavior"] == "delete":
                self.delete(key)
            else:
                self.step()
                self.keys[key].pop("Session")
                self.keys[key]["ModifyIndex"] = self.index
                self.touch(key)
            self.delays[key] = time.monotonic() + ended["LockDelay"] / 1e9
        self.save()
        self.changed.notify_all()

    def expire(self):
        while True:
            time.sleep(0.05)
            with self.changed:
                # timers are the leader's
                if self.leader:
                    now = time.monotonic()
                    for session in [s for s, at in self.expiry.items() if at <= now]:
                        self.end_session(session)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state = None
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    # -- plumbing

    def answer(self, status, body, index=None, kind="application/json", **headers):
        data = body if isinstance(body, bytes) else body.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        if index is not None:
            self.send_header("X-Consul-Index", str(max(1, index)))
            self.send_header("X-Consul-Knownleader", "true")
            self.send_header("X-Consul-Lastcontact", "0")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def json(self, value, index=None):
        self.answer(200, json.dumps(value, separators=(",", ":")), index)

    def serve(self):
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length)
        url = urllib.parse.urlsplit(self.path)
        self.query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        path = urllib.parse.unquote(url.path)
        try:
            token = self.state.options.token
            if token and self.headers.get("X-Consul-Token") != token:
                raise Refused(403, "Permission denied")
            self.route(path)
        except Refused as refused:
            self.answer(refused.status, refused.text, kind="text/plain", **refused.headers)

    do_GET = do_PUT = do_DELETE = do_POST = do_PATCH = serve

    def route(self, path):
        for pattern, method in (
                (r"/v1/kv/(.+)", self.kv), (r"/v1/session/create", self.session_create),
                (r"/v1/session/renew/([^/]+)", self.session_renew),
                (r"/v1/session/destroy/([^/]+)", self.session_destroy),
                (r"/v1/session/list", self.session_list), (r"/v1/txn", self.txn),
                (r"/v1/agent/self", self.agent_self),
                (r"/v1/agent/services", self.agent_services),
                (r"/v1/agent/service/register", self.register),
                (r"/v1/agent/service/deregister/(.+)", self.deregister)):
            match = re.fullmatch(pattern, path)
            if match:
                method(*match.groups())
                return
        raise Refused(404, "Invalid URL path: not a recognized HTTP API endpoint")

    def method(self, *allowed):
        if self.command not in allowed:
            raise Refused(405, f"method {self.command} not allowed",
                          Allow=",".join(("OPTIONS", *allowed)))

    def parameters(self, *allowed):
        unknown = set(self.query) - set(allowed)
        if unknown:
            raise Refused(400, f"unknown parameters {sorted(unknown)}")
        if self.query.get("dc", "dc1") != "dc1":
            raise Refused(500, "No path to datacenter")

    def number(self, name):
        try:
            return int(self.query[name])
        except ValueError:
            raise Refused(400, f'strconv.ParseUint: parsing "{self.query[name]}": '
                          'invalid syntax') from None

    def need_leader(self):
        if not self.state.leader:
            raise Refused(500, "No cluster leader")

    def document(self):
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise Refused(400, f"Request decode failed: {error}") from None

    # -- keys

    def kv(self, key):
        if key.startswith("/"):
            raise Refused(400, f"Invalid key name: {key}")
        self.method("GET", "PUT", "DELETE")
        {"GET": self.kv_get, "PUT": self.kv_put, "DELETE": self.kv_delete}[self.command](key)

    def kv_get(self, key):
        self.parameters("recurse", "index", "wait", "consistent", "stale", "dc")
        if "consistent" in self.query and "stale" in self.query:
            raise Refused(400, "Cannot specify ?stale with ?consistent, conflicting semantics.")
        if "stale" not in self.query:
            self.need_leader()
        recurse = "recurse" in self.query
        state = self.state
        with state.changed:
            index = self.number("index") if "index" in self.query else 0
            if index > 0:
                wait = min(duration(self.query.get("wait", "5m")), 600)
                state.changed.wait_for(
                    lambda: state.prefix_index(key, recurse) > index or not state.leader
                    # an index of the future is answered at once
                    or index > state.index, wait + wait / 32)
                self.need_leader()
            found = [e for k, e in sorted(state.keys.items())
                     if (k.startswith(key) if recurse else k == key)]
            now = state.prefix_index(key, recurse)
            text = json.dumps(found)
        if found:
            self.answer(200, text, now)
        else:
            self.answer(404, "", now)

    def kv_put(self, key):
        self.parameters("cas", "acquire", "release", "flags", "dc")
        kinds = [k for k in ("cas", "acquire", "release") if k in self.query]
        if len(kinds) > 1:
            raise Refused(400, f"Conflicting flags: {'&'.join(kinds)}")
        if len(self.body) > 512 * 1024:
            raise Refused(413, "Request body too large, max allowed is 524288 bytes")
        self.need_leader()
        value = base64.b64encode(self.body).decode() or None
        state = self.state
        with state.changed:
            if "acquire" in self.query:
                done = state.lock(key, value, self.query["acquire"])
            elif "release" in self.query:
                done = state.unlock(key, value, self.query["release"])
            elif "cas" in self.query:
                done = state.cas_fits(key, self.number("cas")) and state.set(key, value)
            else:
                done = state.set(key, value)
        self.json(done)

    def kv_delete(self, key):
        self.parameters("cas", "recurse", "dc")
        if "cas" in self.query and "recurse" in self.query:
            raise Refused(400, "Conflicting flags: cas&recurse")
        self.need_leader()
        state = self.state
        with state.changed:
            if "recurse" in self.query:
                for k in [k for k in state.keys if k.startswith(key)]:
                    state.delete(k)
                done = True
            elif "cas" in self.query:
                if self.number("cas") == 0:
                    raise Refused(400, "Missing index value")
                done = state.delete_cas(key, self.number("cas"))
            else:
                done = state.delete(key)
        self.json(done)

    def txn(self):
        self.method("PUT")
        self.parameters("dc")
        self.need_leader()
        operations = self.document()
        if not isinstance(operations, list) or len(operations) > 64:
            raise Refused(413, "Transaction contains too many operations (max 64)")
        state = self.state
        with state.changed:
            before = (state.index, {k: dict(e) for k, e in state.keys.items()},
                      dict(state.touched))
            results, errors = [], []
            for number, operation in enumerate(operations):
                if list(operation) != ["KV"]:
                    raise Refused(400, "unknown operation in a transaction")
                what = self.txn_one(operation["KV"], results)
                if what:
                    errors.append({"OpIndex": number, "What": what})
            if errors:
                state.index, state.keys, state.touched = before
        if errors:
            self.answer(409, json.dumps({"Results": None, "Errors": errors}))
        else:
            self.json({"Results": results, "Errors": None})

    def txn_one(self, kv, results):
        """Nothing, or why it cannot be done."""
        state, verb, key = self.state, kv.get("Verb"), kv.get("Key")
        fields = {"delete-cas": {"Verb", "Key", "Index"}, "set": {"Verb", "Key", "Value"},
                  "lock": {"Verb", "Key", "Value", "Session"},
                  "cas": {"Verb", "Key", "Value", "Index"}}.get(verb)
        if fields is None or set(kv) != fields:
            raise Refused(400, f"transaction: {verb} with {sorted(kv)}")
        if verb == "delete-cas":
            done = state.delete_cas(key, kv["Index"])
            why = f'failed to delete key "{key}", index is stale'
        elif verb == "lock":
            try:
                done = state.lock(key, kv["Value"], kv["Session"])
            except Refused as refused:
                return refused.text
            why = f'failed to lock key "{key}", lock is already held'
        elif verb == "cas":
            done = state.cas_fits(key, kv["Index"]) and state.set(key, kv["Value"])
            why = f'failed to set key "{key}", index is stale'
        else:
            done, why = state.set(key, kv["Value"]), ""
        if done and verb != "delete-cas":
            results.append({"KV": dict(state.keys[key], Value=None)})
        return None if done else why

    # -- sessions

    def session_create(self):
        self.method("PUT")
        self.parameters("dc")
        self.need_leader()
        fields = lowered(self.document() if self.body else {}, SESSION_FIELDS, "session")
        ttl = fields.get("ttl", "")
        least = duration(self.state.options.session_ttl_min)
        if ttl and not least <= duration(ttl) <= 86400:
            raise Refused(500, f"Invalid Session TTL '{ttl}', must be between "
                          f"[{self.state.options.session_ttl_min}=24h0m0s]")
        behavior = fields.get("behavior", "release")
        if behavior not in ("release", "delete"):
            raise Refused(500, f"Invalid Behavior setting '{behavior}'")
        checks = fields.get("checks", ["serfHealth"])
        for check in checks:
            if check != "serfHealth":
                raise Refused(500, f"Missing check '{check}' registration")
        delay = fields.get("lockdelay", "15s")
        delay = duration(delay) if isinstance(delay, str) else delay / 1e9
        if not 0 <= delay <= 60:
            raise Refused(500, "invalid LockDelay")
        state = self.state
        with state.changed:
            identity = str(uuid.uuid4())
            state.sessions[identity] = {
                "ID": identity, "Name": fields.get("name", ""), "Node": "double",
                "Checks": checks, "LockDelay": int(delay * 1e9), "Behavior": behavior,
                "TTL": ttl, "CreateIndex": state.step(), "ModifyIndex": state.index}
            state.revive(identity)
            state.save()
        self.json({"ID": identity})

    def session_renew(self, identity):
        self.method("PUT")
        self.parameters("dc")
        self.need_leader()
        with self.state.changed:
            if identity not in self.state.sessions:
                raise Refused(404, f"Session id '{identity}' not found")
            self.state.revive(identity)
            found = [self.state.sessions[identity]]
        self.json(found)

    def session_destroy(self, identity):
        self.method("PUT")
        self.parameters("dc")
        self.need_leader()
        with self.state.changed:
            self.state.end_session(identity)
        self.json(True)

    def session_list(self):
        self.method("GET")
        self.parameters("dc")
        with self.state.changed:
            found, index = list(self.state.sessions.values()), self.state.index
        self.json(found, index)

    # -- agent

    def agent_self(self):
        self.method("GET")
        self.parameters()
        least = int(duration(self.state.options.session_ttl_min) * 1e9)
        self.json({"Config": {"Datacenter": "dc1", "NodeName": "double",
                              "SessionTTLMin": least}, "Member": {"Name": "double"}})

    def agent_services(self):
        self.method("GET")
        self.parameters()
        self.json(self.state.services)

    def register(self):
        self.method("PUT")
        self.parameters("replace-existing-checks")
        fields = lowered(self.document(), SERVICE_FIELDS, "service")
        if not fields.get("name"):
            raise Refused(400, "Missing service name")
        for check in fields.get("checks", [fields["check"]] if "check" in fields else []):
            check = lowered(check, CHECK_FIELDS, "check")
            if not re.match(r"https?://", check.get("http", "")) or "interval" not in check:
                raise Refused(400, "Invalid check: must provide HTTP and Interval")
            duration(check["interval"])
            duration(check["deregistercriticalserviceafter"])
        with self.state.changed:
            self.state.services[fields.get("id") or fields["name"]] = fields
        self.answer(200, "")

    def deregister(self, identity):
        self.method("PUT")
        self.parameters()
        with self.state.changed:
            if self.state.services.pop(identity, None) is None:
                raise Refused(404, f"Unknown service ID \"{identity}\". Ensure that the service "
                              "ID is passed, not the service name.")
        self.answer(200, "")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--token")
    parser.add_argument("--session-ttl-min", default="10s")
    parser.add_argument("--cert")
    parser.add_argument("--key")
    parser.add_argument("--ca", help="clients have to show a certificate of it")
    options = parser.parse_args()
    state = Handler.state = State(options)

    def end_sessions(*_):
        def run():
            with state.changed:
                for session in list(state.sessions):
                    state.end_session(session)
        threading.Thread(target=run).start()

    def toggle_leader(*_):
        def run():
            with state.changed:
                state.leader = not state.leader
                state.changed.notify_all()
        threading.Thread(target=run).start()
    signal.signal(signal.SIGUSR1, end_sessions)
    signal.signal(signal.SIGUSR2, toggle_leader)
    threading.Thread(target=state.expire, daemon=True).start()
    ThreadingHTTPServer.daemon_threads = True
    ThreadingHTTPServer.request_queue_size = 64
    server = ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
    if options.cert:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.cert, options.key)
        if options.ca:
            context.load_verify_locations(options.ca)
            context.verify_mode = ssl.CERT_REQUIRED
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


main()
