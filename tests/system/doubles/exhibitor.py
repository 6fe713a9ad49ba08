"""Exhibitor's HTTP interface as far as a client needs it, in front of a real
ZooKeeper.

What it enforces, from Exhibitor's documentation of its REST API ("Cluster
Status", https://github.com/soabase/exhibitor/wiki/REST-Cluster):

    GET /exhibitor/v1/cluster/list   200, application/json,
        {"servers": ["host", ...], "port": <client port>}
    GET /exhibitor/v1/cluster/list/xml  is another representation: not served
    any other path                   404
    another method on that path      405 with Allow

A query string or a body is answered by 400: a client has no reason for one.
All servers of the list share one port, as in Exhibitor.
"""
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PATH = "/exhibitor/v1/cluster/list"


class Exhibitor:
    """servers and port may be changed at any time; failing makes it answer 500."""

    def __init__(self, port, servers, client_port, host="127.0.0.1"):
        self.servers = list(servers)
        self.client_port = client_port
        self.port = port
        self.host = host
        self.failing = False
        self.garbage = None
        self.requests = 0
        self.http = None

    def start(self):
        double = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def answer(self, status, body, kind="application/json", **headers):
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                double.requests += 1
                path, _, query = self.path.partition("?")
                if path != PATH:
                    self.answer(404, b"not found", "text/plain")
                elif query or int(self.headers.get("Content-Length") or 0):
                    self.answer(400, b"bad request", "text/plain")
                elif double.failing:
                    self.answer(500, b"the server has a problem", "text/plain")
                elif double.garbage is not None:
                    self.answer(200, double.garbage)
                else:
                    self.answer(200, json.dumps({
                        "servers": double.servers, "port": double.client_port}).encode())

            def refuse(self):
                self.answer(405 if self.path == PATH else 404, b"", "text/plain", Allow="GET")

            do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = refuse

        self.http = ThreadingHTTPServer((self.host, self.port), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def stop(self):
        if self.http is not None:
            self.http.shutdown()
            self.http.server_close()
            self.http = None
