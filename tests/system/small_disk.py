"""Run a program with a small file system of its own at a directory.

As a module: mount() says how a node is to be started so that a directory of
its is a tmpfs of some megabytes, which exists for its processes alone (user
and mount namespaces, no privileges needed).  As a program, inside of them.
"""
import ctypes
import os
import pathlib
import subprocess
import sys

MS_REC, MS_PRIVATE = 0x4000, 1 << 18
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
UNSHARE = ["unshare", "--map-current-user", "--mount", "--keep-caps"]


def possible():
    """Not every kernel lets users make namespaces."""
    return subprocess.run(UNSHARE + ["true"], stderr=subprocess.DEVNULL).returncode == 0


def mount(node, directory, megabytes):
    node.prefix = UNSHARE + [sys.executable, __file__, str(directory), str(megabytes)]


def seen(node, path):
    """The path as the node's processes see it."""
    return pathlib.Path(f"/proc/{node.pid}/root{path}")


def fill(path, leave=0):
    """Take all the space there is but some bytes."""
    with open(path, "wb", buffering=0) as ballast:
        size = 1 << 20
        while size >= 4096:
            try:
                while ballast.write(bytes(size)) == size:
                    pass
            except OSError:
                pass
            size //= 2
        if leave:
            ballast.truncate(max(ballast.tell() - leave, 0))


def main():
    directory, megabytes, *command = sys.argv[1:]
    libc = ctypes.CDLL(None, use_errno=True)

    def check(result):
        if result != 0:
            sys.exit(f"mount: {os.strerror(ctypes.get_errno())}")
    check(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None))
    check(libc.mount(b"tmpfs", directory.encode(), b"tmpfs", 0,
                     f"size={megabytes}m,mode=700".encode()))
    check(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
