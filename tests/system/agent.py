"""A client of a store as a process: tests/conformance/agent.c, commanded."""
import json
import queue
import subprocess
import tempfile
import threading
import time

from basics import BUILD, PATIENCE, kill

MS = 3000


def now_ms():
    """The clock of the agent's times."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) * 1000


class Agent:
    """One client; call() waits for the answer, send() and wait() apart."""

    def __init__(self, store, name, scope="test", ttl=5, retry_timeout=3, ctl=False,
                 section=None, prefix=()):
        document = {
            "name": name, "scope": scope, "ttl": ttl, "loop_wait": 1,
            "retry_timeout": retry_timeout,
            store.section: store.config(scope) if section is None else section}
        store.member(scope, name)
        self.name = name
        self.config = document
        self.file = tempfile.NamedTemporaryFile("w", prefix="agent-", suffix=".json")
        json.dump(document, self.file)
        self.file.flush()
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [*prefix, str(BUILD / "store-agent"), self.file.name, *(["ctl"] if ctl else [])],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True)
        self.answers = {}
        self.events = []
        self.news = threading.Condition()
        self.ended = False
        self.opened = queue.Queue()
        self.next = 0
        threading.Thread(target=self.read, daemon=True).start()
        first = self.opened.get(timeout=30)
        if not first.get("opened"):
            raise ValueError(first.get("error", "the agent died"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def read(self):
        for line in self.process.stdout:
            data = json.loads(line)
            with self.news:
                if "opened" in data:
                    self.opened.put(data)
                elif "changed" in data:
                    self.events.append(data)
                else:
                    self.answers[data["id"]] = data
                self.news.notify_all()
        with self.news:
            self.ended = True
            self.news.notify_all()
        self.opened.put({})

    def send(self, op, ms=MS, **more):
        self.next += 1
        line = dict(more, id=self.next, op=op, ms=int(ms * PATIENCE))
        self.process.stdin.write(json.dumps(line) + "\n")
        self.process.stdin.flush()
        return self.next

    def wait(self, number, timeout=30):
        with self.news:
            assert self.news.wait_for(lambda: number in self.answers or self.ended,
                                      timeout * PATIENCE), "no answer"
            assert number in self.answers, f"the agent died: {self.stderr()}"
            return self.answers.pop(number)

    def call(self, op, ms=MS, **more):
        return self.wait(self.send(op, ms, **more), ms / 1000 + 20)

    def does(self, op, ms=MS, **more):
        """call() that has to succeed."""
        answer = self.call(op, ms, **more)
        assert answer["outcome"] == "ok", answer
        return answer

    def view(self, ms=MS):
        return self.does("load", ms)["view"]

    def leader(self, ms=MS):
        return self.view(ms)["leader"]

    def event(self, what, test, timeout=10, start=0):
        """The first event from position start on that passes the test."""
        def found():
            return next((e for e in self.events[start:] if test(e)), None)
        with self.news:
            assert self.news.wait_for(lambda: found() or self.ended, timeout * PATIENCE), (
                f"no event: {what}; events {self.events[start:]}")
            assert found(), f"the agent died: {self.stderr()}"
            return found()

    def stderr(self):
        self.errors.seek(0)
        return self.errors.read()[-6000:]

    def kill(self, sig=9):
        kill(self.process.pid, sig)
        if sig == 9:
            self.process.wait()

    def close(self):
        kill(self.process.pid, 18)
        self.process.stdin.close()
        try:
            code = self.process.wait(20 * PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("the agent hangs at its end") from None
        finally:
            self.process.stdout.close()
            self.file.close()
        # killed by the test, or ended well
        assert code in (0, -9), f"the agent ended with {code}: {self.stderr()}"
        self.errors.close()
