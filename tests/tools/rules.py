#!/usr/bin/python3
"""Which test shows which rule, and which section, of spec/ha.md.

Usage: rules.py FILE...          the tables, as text; fails when a rule, or a
                                 section that tells of behaviour, has no test
       rules.py --check FILE...  nothing but the rules that no unit test meets;
                                 fails when there is one

FILE is what unit tests and simulator write where RULES_LOG says so: one line
"rule program test" for each rule id that a test met, or "rule sim".  Tests of
whole systems tell the sections that they are about: "(ha.md 5, 16)" in the
docstring of the test, or of the file for all of its tests.  Unit tests may say
"spec/ha.md 7.5, 7.6" in a comment.  Faults and broken rules of the simulator
have their sections in tests/sim/faults.def and rules.def.
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


# The sections that tell of behaviour.  Left out: 21.5, 21.6, 22 and 25 describe
# or suggest, 18.5 is the controller's (spec/postgres.md 21), the lines of 24 belong to what
# other sections tell, 26 is history.
SECTIONS = """
2.1 2.2 2.3 2.4 2.5 3.1 3.2 3.3 3.4 4 5 6.1 6.2 6.3 6.4 6.5 7.1 7.2 7.3 7.4 7.5 7.6
8.1 8.2 8.3 8.4 8.5 8.6 8.7 9.1 9.2 9.3 10.1 10.2 10.3 10.4 11.1 11.2 11.3 11.4 11.5
11.6 12.1 12.2 12.3 12.4 12.5 13.1 13.2 13.3 13.4 13.5 13.6 13.7 13.8 13.9 14.1 14.2
14.3 14.4 14.5 14.6 15.1 15.2 15.3 15.4 15.5 15.6 16 17.1 17.2 17.3 17.4 17.5 18.1
18.2 18.3 18.4 19 20.1 20.2 20.3 20.4 20.5 21.1 21.2 21.3 21.4 23.1 23.2
""".split()
COMMENT = re.compile(r"/\*.*?\*/", re.S)


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


def model(name, macro):
    """{section: [text]} of tests/sim/NAME, each line MACRO(id, text, sections)."""
    table = {}
    for text, sections in re.findall(rf'^{macro}\(\w+, "([^"]+)", "([^"]+)"\)',
                                     (ROOT / "tests/sim" / name).read_text(), re.M):
        for section in sections.split(","):
            table.setdefault(section.strip(), []).append(text)
    return table


def told(comment):
    """The sections that a comment names behind "spec/ha.md"."""
    words = comment.partition("spec/ha.md")[2]
    words = re.sub(r"rows? [\d, -]+|(?:dcs|config|rest-api|postgres)\.md [\d., ]+|design \d+",
                   "", words)
    return {part for part in re.findall(r"\b\d+(?:\.\d+)?\b", words) if part in SECTIONS}


def unit_tests(units):
    """{section: {program}}: by the rules met, and by what comments say."""
    table = {}
    for section, rule, _ in rules():
        table.setdefault(section, set()).update(units.get(rule, {}))
    for path in sorted((ROOT / "tests/unit").glob("test_*.c")):
        for comment in COMMENT.findall(path.read_text()):
            for section in told(comment):
                table.setdefault(section, set()).add(path.stem)
    return table


def system_sections():
    """{section: [test]}, as the docstrings say."""
    table = {}
    for path in sorted((ROOT / "tests/system").glob("test_*.py")):
        source = ast.parse(path.read_text())
        whole = sections_of(ast.get_docstring(source))
        for node in source.body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                for section in whole | sections_of(ast.get_docstring(node)):
                    table.setdefault(section, []).append(f"{path.stem}::{node.name}")
    return table


def few(names, most=4):
    names = sorted(set(names))
    return ", ".join(names[:most]) + (f" and {len(names) - most} more"
                                      if len(names) > most else "")


def show_sections(units):
    """The table by section; the sections that no test shows."""
    by_unit, by_system = unit_tests(units), system_sections()
    faults, broken = model("faults.def", "FAULT"), model("rules.def", "RULE")
    lost = []
    print("\nspec/ha.md by section")
    for section in SECTIONS:
        chapter = section.split(".")[0]
        shown = by_unit.get(section, set())
        tests = by_system.get(section, []) or by_system.get(chapter, [])
        print(f"  {section}")
        for title, names in (("unit", shown), ("system", tests),
                             ("faults", faults.get(section, [])),
                             ("broken", broken.get(section, []))):
            if names:
                print(f"    {title:7} {few(names)}")
        if not shown and not by_system.get(section):
            lost.append(section)
    return lost


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
    bare = []
    if not check:
        show(units, sim)
        bare = show_sections(units)
    lost = missing(units)
    for rule in lost:
        print(f"no unit test meets the rule {rule}", file=sys.stderr)
    for section in bare:
        print(f"no test shows spec/ha.md {section}", file=sys.stderr)
    sys.exit(1 if lost or bare else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
