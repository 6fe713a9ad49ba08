#!/usr/bin/python3
"""Which test shows which rule of spec/ha.md.

Usage: rules.py FILE...          the table, as text
       rules.py --check FILE...  nothing but the rules that no unit test meets;
                                 fails when there is one

FILE is what unit tests and simulator write where RULES_LOG says so: one line
"rule program test" for each rule id that a test met, or "rule sim".  Tests of
whole systems tell the sections that they are about: "(ha.md 5, 16)" in the
docstring of the test, or of the file for all of its tests.
"""
import ast
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Guards against errors of the program itself: no input is known that gets there.
GUARDS = set(re.findall(r'^UNMET\("([^"]+)"', (ROOT / "tests/sim/unmet.def").read_text(), re.M))
# Takes any path, by chance: shows nothing about one rule.
RANDOM = {"test_ha_random"}


def rules():
    """[(section, id, text)] in the order of the sections."""
    found = re.findall(r'^RULE\("([^"]+)", "([^"]+)", "([^"]+)"\)',
                       (ROOT / "helpers/ha/ha_rules.def").read_text(), re.M)
    return sorted(((section, rule, text) for rule, section, text in found),
                  key=lambda r: (section_key(r[0]), r[1]))


def section_key(section):
    return [int(part) for part in section.split(".")]


def met(files):
    """({rule: {program: {test}}}, {rules of the simulator})"""
    units, sim = {}, set()
    for path in files:
        for line in pathlib.Path(path).read_text().splitlines():
            rule, program, *test = line.split()
            if program == "sim":
                sim.add(rule)
            elif program not in RANDOM:
                units.setdefault(rule, {}).setdefault(program, set()).add(*test)
    return units, sim


def sections_of(docstring):
    found = re.findall(r"\(ha\.md ([\d., ]+)\)", docstring or "")
    return {part.strip() for group in found for part in group.split(",")}


def system_tests():
    """{chapter: [test]}: sections are gathered under their first number."""
    table = {}
    for path in sorted((ROOT / "tests/system").glob("test_*.py")):
        module = ast.parse(path.read_text())
        whole = sections_of(ast.get_docstring(module))
        for node in module.body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                for section in whole | sections_of(ast.get_docstring(node)):
                    table.setdefault(section.split(".")[0], []).append(
                        f"{path.stem}::{node.name}")
    return table


def missing(units):
    return [rule for _, rule, _ in rules() if rule not in units and rule not in GUARDS]


def show(units, sim):
    systems = system_tests()
    chapter = None
    for section, rule, text in rules():
        if section.split(".")[0] != chapter:
            chapter = section.split(".")[0]
            print(f"\nspec/ha.md {chapter}")
            for test in systems.get(chapter, []):
                print(f"  system: {test}")
        print(f"  {section:5} {rule} ({text})"
              f"{', simulator' if rule in sim else ''}")
        for program, tests in sorted(units.get(rule, {}).items()):
            names = sorted(tests)
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            print(f"          {program}: {', '.join(names[:3])}{more}")
        if rule in GUARDS:
            print("          a guard: no input is known that meets it")
    rest = set(systems) - {section.split(".")[0] for section, _, _ in rules()}
    for chapter in sorted(rest, key=section_key):
        print(f"\nspec/ha.md {chapter}")
        for test in systems[chapter]:
            print(f"  system: {test}")


def main(arguments):
    check = arguments[:1] == ["--check"]
    files = arguments[1:] if check else arguments
    if not files:
        sys.exit(__doc__)
    units, sim = met(files)
    if not check:
        show(units, sim)
    lost = missing(units)
    for rule in lost:
        print(f"no unit test meets the rule {rule}", file=sys.stderr)
    sys.exit(1 if lost else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
