"""A relay between a client and its server that loses, delays and spoils.

It forwards bytes; where a request begins it asks `describe` for its text
(for HTTP the request line), which patterns are matched against.  Everything
can be changed while connections are open:

    mode "pass"     forward
         "hang"     take everything, forward nothing: a half-open connection
         "refuse"   close the listener and every connection
         "garbage"  answer each request with bytes that mean nothing
         "error"    answer each request with HTTP 503
    delay           seconds by which each request is held back
    drop(p, n)      the next n answers to requests that match p are lost,
                    after the server has carried the request out
    refuse(p)       requests that match p get the answer of "error", all others pass
    requests        [(monotonic time, text)] of all that went by
"""
import contextlib
import re
import select
import socket
import threading
import time

REQUEST = re.compile(rb"(GET|PUT|POST|DELETE|PATCH|HEAD) (\S+) HTTP/1\.1\r\n")
GARBAGE = b"\x00\xff\x10garbage\r\n\r\n{]" * 40
ERROR_BODY = b"<html>upstream is not available</html>"
ERROR = (b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/html\r\n"
         b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(ERROR_BODY)) + ERROR_BODY


def describe_http(data):
    match = REQUEST.match(data)
    return match.group(1).decode() + " " + match.group(2).decode() if match else None


class Pieces:
    """What a client sends as it comes; a protocol with frames waits for whole ones."""

    def __init__(self, describe):
        self.describe = describe

    def feed(self, data):
        """(text or None, bytes to forward)"""
        return self.describe(data), data


class Relay:
    def __init__(self, port, target, describe=describe_http, address="127.0.0.1"):
        self.port = port
        self.target = target
        self.address = address  # to listen at; the target is at 127.0.0.1
        self.describe = describe
        self.mode = "pass"
        self.delay = 0
        self.requests = []
        self.dropped = 0
        self.drops = []
        self.refused = None
        self.listener = None
        self.connections = set()
        self.lock = threading.Lock()

    # -- control

    def start(self):
        if self.listener is not None:
            return
        listener = socket.socket(socket.AF_INET6 if ":" in self.address else socket.AF_INET)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((self.address, self.port))
        listener.listen(64)
        self.listener = listener
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def cut(self):
        """Close every connection."""
        with self.lock:
            connections = list(self.connections)
        for s in connections:
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)

    def set(self, mode):
        """Another mode; connections made under the old one are kept."""
        self.mode = mode
        if mode == "refuse":
            self.close()
            self.cut()
        else:
            self.start()

    def close(self):
        if self.listener is not None:
            # wakes the thread that accepts
            with contextlib.suppress(OSError):
                self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
            self.listener = None

    def drop(self, pattern, count=1):
        with self.lock:
            self.drops = [[re.compile(pattern), count]] if count else []
            self.dropped = 0

    def refuse(self, pattern):
        self.refused = re.compile(pattern)

    def reset(self):
        self.drop("", 0)
        self.refused = None
        self.delay = 0
        self.set("pass")

    def count(self, since=0.0, pattern=""):
        return sum(1 for at, text in list(self.requests)
                   if at >= since and re.search(pattern, text))

    # -- work

    def accept(self, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def to_drop(self, text):
        with self.lock:
            for d in self.drops:
                if d[1] > 0 and d[0].search(text):
                    d[1] -= 1
                    return True
        return False

    def serve(self, client):
        server = None
        try:
            with self.lock:
                self.connections.add(client)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.mode == "pass":
                server = socket.create_connection(("127.0.0.1", self.target), 5)
                server.settimeout(None)
                server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.pump(client, server)
        except OSError:
            pass
        finally:
            with self.lock:
                self.connections.discard(client)
            client.close()
            if server is not None:
                server.close()

    def pump(self, client, server):
        dropping = False
        pieces = self.describe() if isinstance(self.describe, type) else Pieces(self.describe)
        while True:
            watched = [client] + ([server] if server is not None else [])
            readable, _, _ = select.select(watched, [], [], 0.1)
            if self.mode == "hang":
                # neither end hears anything; bytes wait in the socket
                if readable:
                    time.sleep(0.02)
                continue
            if server in readable:
                data = server.recv(65536)
                if dropping:
                    self.dropped += 1
                    return
                if not data:
                    return
                client.sendall(data)
            if client in readable:
                data = client.recv(65536)
                if not data:
                    return
                text, data = pieces.feed(data)
                if not data:
                    continue
                if text is not None:
                    self.requests.append((time.monotonic(), text))
                    refused = self.refused is not None and self.refused.search(text)
                    if refused or self.mode in ("garbage", "error"):
                        client.sendall(GARBAGE if self.mode == "garbage" else ERROR)
                        return
                    # a client may send on before the answer has come
                    dropping = self.to_drop(text) or dropping
                    if self.delay:
                        time.sleep(self.delay)
                if server is None:
                    return
                server.sendall(data)
