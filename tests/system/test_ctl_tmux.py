"""patronictl in a real terminal (tmux): what is on the screen while it works,
and that the terminal is as before when it ends, also by Ctrl-C."""
import os
import shlex
import subprocess
import threading

import pytest

from cluster import BUILD, wait_for
from ctl_stage import Stage

READY = "ready>"


class Terminal:
    """One tmux server with a shell of its own."""

    def __init__(self, stage):
        self.stage = stage
        self.socket = stage.dir / "tmux"
        script = stage.dir / "p"
        script.write_text("#!/bin/sh\nexec " + " ".join(
            shlex.quote(str(a)) for a in [BUILD / "patronictl", "-c", stage.config()])
            + ' "$@"\n')
        script.chmod(0o755)
        environment = stage.environment({"SHELL": "/bin/sh", "PS1": READY, "TERM": "xterm"})
        environment["PATH"] = f"{stage.dir}:{environment['PATH']}"
        subprocess.run(["tmux", "-f", "/dev/null", "-S", self.socket, "new-session", "-d",
                        "-x", "120", "-y", "40", "bash --norc --noprofile"],
                       check=True, env=environment)
        self.keys(f"PS1='{READY}'; clear\n")
        self.shows(READY)

    def tmux(self, *arguments):
        return subprocess.run(["tmux", "-S", self.socket, *arguments], check=True,
                              capture_output=True, text=True).stdout

    def keys(self, text):
        for part in text.splitlines(keepends=True):
            if part.rstrip("\n"):
                self.tmux("send-keys", "-l", part.rstrip("\n"))
            if part.endswith("\n"):
                self.tmux("send-keys", "Enter")

    def interrupt(self):
        self.tmux("send-keys", "C-c")

    def screen(self, *options):
        return self.tmux("capture-pane", "-p", *options)

    def shows(self, text, **options):
        def there():
            screen = self.screen()
            return screen if text in screen else None
        return wait_for(f"{text!r} on the screen", there, 20, **options)

    def clean(self):
        """Ready for the next command: the shell answers, its input is seen, the
        cursor too, the main screen is shown, and nothing is coloured."""
        # a prompt of now: what is typed before it may be thrown away with the
        # rest of the input when the program puts the terminal back
        wait_for("the prompt", lambda: self.screen().rstrip().endswith(READY.rstrip()), 20)
        self.keys("stty -a | grep -o -w -e '-\\?echo' -e '-\\?icanon'; echo see$((1 + 1))n\n")
        screen = self.shows("see2n")
        assert "echo see$((1 + 1))n" in screen  # typed text is echoed
        assert "\necho\n" in screen and "\nicanon\n" in screen
        assert self.tmux("display", "-p", "#{cursor_flag} #{alternate_on}").strip() == "1 0"
        assert "see2n" in self.screen("-e").splitlines()  # in no colour
        self.keys("clear\n")
        wait_for("an empty screen", lambda: "see2n" not in self.screen())

    def close(self):
        self.tmux("kill-server")


@pytest.fixture(scope="module")
def stage():
    with Stage() as s:
        yield s


@pytest.fixture
def terminal(stage):
    stage.reset(["orders"])
    t = Terminal(stage)
    try:
        yield t
    finally:
        t.close()


def test_watch_redraws_in_place(stage, terminal):
    terminal.keys("p list orders -w 0.2\n")
    screen = terminal.shows("Sync Standby")
    assert screen.startswith("+ Cluster: orders (")
    stage.put("orders", "sync", {"leader": "db1", "sync_standby": "db3"})

    def moved():
        text = terminal.screen()
        return "| db2    | 10.1.0.12 | Replica " in text and text
    screen = wait_for("the new table", moved, 20)
    # one table, in the place of the old one
    assert screen.startswith("+ Cluster: orders (") and screen.count("Cluster: orders") == 1
    coloured = terminal.screen("-e")
    assert "\x1b[1mLeader" in coloured and "\x1b[32mstreaming" in coloured
    # a smaller table leaves nothing of the larger one
    stage.store("orders", {"initialize": "1"})
    wait_for("the empty table", lambda: "10.1.0.12" not in terminal.screen(), 20)
    assert terminal.screen().rstrip("\n").count("\n") == 3
    terminal.interrupt()
    terminal.shows("Aborted!")
    terminal.clean()


def test_no_colour_when_not_wanted(terminal):
    terminal.keys("NO_COLOR=1 p list orders\n")
    terminal.shows("Sync Standby")
    assert "\x1b[" not in terminal.screen("-e").replace("\x1b[0m", "")
    terminal.keys("clear; TERM=dumb p list orders\n")
    terminal.shows("Sync Standby")
    assert "\x1b[1m" not in terminal.screen("-e")
    terminal.keys("clear; p list orders | cat\n")
    terminal.shows("Sync Standby")
    assert "\x1b[1m" not in terminal.screen("-e")


def test_long_wait_says_for_what(stage, terminal):
    go = threading.Event()

    def slow():
        go.wait(60)
        return 200, 'Successfully switched over to "db2"'
    stage.members.play({"POST /switchover": slow})
    terminal.keys("p switchover orders --force\n")
    terminal.shows(f"waiting for db1: POST http://127.0.0.1:{stage.api}/switchover (")
    go.set()
    screen = terminal.shows("Successfully switched over")
    # the line is gone with the wait
    assert "waiting for" not in screen
    terminal.clean()
    go.clear()
    stage.members.play({"POST /switchover": slow})
    terminal.keys("p switchover orders --force\n")
    terminal.shows("waiting for db1: POST")
    terminal.interrupt()
    assert "waiting for" not in terminal.shows("Aborted!")
    terminal.clean()
    go.set()


def test_password_prompt_interrupted(terminal):
    terminal.keys("p query orders --password -c x\n")
    terminal.shows("Password:")
    terminal.keys("secret")
    terminal.interrupt()
    assert "secret" not in terminal.shows("Aborted!")
    terminal.clean()


def test_difference_and_pager(terminal):
    terminal.keys("p edit-config orders -s ttl=40\n")
    terminal.shows("Apply these changes?")
    coloured = terminal.screen("-e")
    assert "\x1b[31m-ttl: \x1b[7m3" in coloured and "\x1b[32m+ttl: \x1b[7m4" in coloured
    terminal.interrupt()
    terminal.clean()
    # longer than the screen: the pager keeps it until told to go
    sets = " ".join(f"-s a{i}={i}" for i in range(80))
    terminal.keys(f"LESS= p edit-config orders {sets}\n")
    terminal.shows("+a0: 0")
    assert "Apply" not in terminal.screen()
    terminal.keys("q")
    terminal.shows("Apply these changes?")
    terminal.keys("n\n")
    terminal.clean()


def test_editor(terminal, tmp_path):
    editor = tmp_path / "e"
    editor.write_text("#!/bin/sh\nread word\nsed -i \"s/ttl:.*/ttl: $word/\" \"$1\"\n")
    editor.chmod(0o755)
    os.chmod(tmp_path, 0o755)
    terminal.keys(f"EDITOR={editor} p edit-config orders\n")
    terminal.keys("41\n")
    terminal.shows("Apply these changes?")
    terminal.keys("y\n")
    terminal.shows("Configuration changed")
    # Ctrl-C belongs to the editor; an editor that dies of it changes nothing
    terminal.keys(f"clear; EDITOR={editor} p edit-config orders\n")
    wait_for("the editor", lambda: subprocess.run(
        ["pgrep", "-f", f"{editor} "], capture_output=True).returncode == 0, 20)
    terminal.interrupt()
    terminal.shows("Error: Editor exited with return code")
    terminal.clean()
