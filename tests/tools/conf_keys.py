#!/usr/bin/env python3
"""Table configuration key -> tests that use it.

The keys are those of the manual page, which a unit test holds equal to the
schema.  What is made from the schema (tests/unit/test_conf_keys.c) tests all
of them alike and is not listed.  Without arguments: print the table.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
# every key stands in these, for what they compare
NOT_COUNTED = {"test_conf_keys.c", "test_conf_files.c", "test_conf_table.py"}


def keys():
    """Dotted paths in the order of the manual."""
    text = (ROOT / "master" / "patroni.conf.5").read_text()
    return list(dict.fromkeys(re.findall(r"^\.It Ic ([a-z_0-9.*]+)$", text, re.M)))


def functions():
    """(file, function, its text) of the tests; what stands outside of functions
    is in every test of its file, and so are the words of the file's name."""
    for path in sorted((ROOT / "tests").glob("*/test_*.[cp]*")):
        if path.name in NOT_COUNTED:
            continue
        # a newline in a C string is no letter before a key
        text = path.read_text().replace("\\n", " ")
        start = r"^def (\w+)\(" if path.suffix == ".py" else r"^(test_\w+)\(void"
        parts = re.split(start, text, flags=re.M)
        about = path.stem.replace("_", " ")
        for name, body in zip(parts[1::2], parts[2::2]):
            yield path.name, name, f"{about} {body}"
        yield path.name, "(all)", f"{about} {parts[0]}"
    for path in ("cluster.py", "ctl_stage.py", "tls.py", "kubernetes.py", "zookeeper.py"):
        file = ROOT / "tests" / "system" / path
        if file.exists():
            yield path, "(every test with a cluster)", f"{file.stem} {file.read_text()}"


def table():
    """{key: [file:function, ...]}"""
    found = []
    for file, name, body in functions():
        words = set(re.findall(r"[A-Za-z_0-9]+", body))
        found.append((f"{file}:{name}", words, " ".join(sorted(words))))
    result = {}
    every = keys()
    leaves = [key.replace(".*", "").split(".")[-1] for key in every]
    for key in every:
        *section, leaf = key.replace(".*", "").split(".")
        # a common word counts with its section's name beside it alone
        common = section and (leaves.count(leaf) > 1 or len(leaf) < 8) and (
            len(leaf) < 12 or "_" not in leaf)
        near = f" {section[-1]}" if common else ""
        variable = "PATRONI_" + key.upper().replace(".", "_")
        result[key] = [name for name, words, text in found
                       if variable in words or (leaf in words and near in f" {text}")]
    return result


def main():
    for key, tests in table().items():
        print(f"{key:60} {' '.join(tests) or '-'}")


if __name__ == "__main__":
    sys.exit(main())
