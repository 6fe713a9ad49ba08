"""Completion in a real bash and a real zsh: every command and every option is
offered to one who presses Tab."""
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import time

import pytest

from cluster import BUILD, ROOT

READY = "READY>"
SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], [
        "bind 'set show-all-if-ambiguous on'", "bind 'set completion-query-items 0'",
        "bind 'set page-completions off'", "bind 'set enable-bracketed-paste off'",
        f". {ROOT}/helpers/ctl/completion.bash"]),
    "zsh": (["zsh", "-f", "-i"], [
        "unsetopt list_ambiguous prompt_cr prompt_sp zle_bracketed_paste 2>/dev/null",
        "unset zle_bracketed_paste; LISTMAX=10000",
        "autoload -Uz compinit && compinit -D -u",
        f". {ROOT}/helpers/ctl/completion.zsh"]),
}


class Shell:
    def __init__(self, name, home):
        command, setup = SHELLS[name]
        path = shutil.which(command[0])
        assert path, f"{command[0]} is not installed"
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(path, command, {
                "PATH": f"{BUILD}:{os.environ['PATH']}", "HOME": str(home), "TERM": "dumb",
                "PS1": READY, "PROMPT": READY, "LC_ALL": "C.UTF-8", "COLUMNS": "200",
                "LINES": "1000"})
        self.until(lambda t: READY in t)
        for line in setup + ["stty cols 200 rows 1000"]:
            self.line(line)

    def until(self, condition):
        out = ""
        deadline = time.monotonic() + 30
        while not condition(out):
            assert time.monotonic() < deadline, out
            if select.select([self.fd], [], [], 0.1)[0]:
                out += os.read(self.fd, 65536).decode(errors="replace")
        return out

    def line(self, text):
        """Run a line, until the next prompt after a mark that it prints."""
        os.write(self.fd, (text + "; echo MA''RK\n").encode())
        return self.until(lambda t: READY in t.partition("MARK")[2])

    def tab(self, text):
        """The words that Tab offers; the line is given up afterwards."""
        os.write(self.fd, text.encode() + b"\t\t")
        # what follows Ctrl-U runs once the completion has been shown
        os.write(self.fd, b"\x15echo MA''RK\n")
        out = self.until(lambda t: READY in t.partition("MARK")[2]).partition("MARK")[0]
        return set(re.findall(r"[-\w:/]+", out))

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)


def help_of(*words):
    return subprocess.run([BUILD / "patronictl", *words, "--help"], capture_output=True,
                          text=True, check=True, env={"HOME": "/nonexistent"}).stdout


def commands():
    return re.findall(r"^  ([a-z-]+)  ", help_of().split("Commands:\n")[1].split("\nEx")[0], re.M)


def options(*words):
    text = help_of(*words).split("Options:\n")[1].split("\n\n")[0]
    return {o for line in re.findall(r"^  (-.*)", text, re.M)
            for o in re.findall(r"(?:^|, )(-[-\w]+)", line.split("  ")[0])}


@pytest.mark.parametrize("name", SHELLS)
def test_everything_is_offered(name, tmp_path):
    shell = Shell(name, tmp_path)
    try:
        assert set(commands()) <= shell.tab("patronictl ")
        assert options() <= shell.tab("patronictl -")
        for command in commands():
            wanted = options(command)
            got = shell.tab(f"patronictl -c x.yml {command} -")
            assert wanted <= got, (command, wanted - got)
        assert {"restart", "switchover"} <= shell.tab("patronictl flush ")
        local = shell.tab("patronictl local ")
        for action in re.findall(r"\[?([a-z-]+)(?: [A-Z]+| restart| switchover)?[|\]]",
                                 help_of("local").split("\n")[0].split("[OPTIONS]")[1]):
            assert action in local, action
        assert {"dcs", "rest", "postgres", "watchdog"} <= shell.tab(
            "patronictl local restart-helper ")
        assert {"pretty", "tsv", "json", "yaml"} <= shell.tab("patronictl list --format ")
        assert {"leader", "standby-leader", "any"} <= shell.tab("patronictl dsn -r ")
        # a word that is begun is finished
        assert "reinit" in shell.tab("patronictl rein")
        assert "remove" not in shell.tab("patronictl rein")
    finally:
        shell.close()
