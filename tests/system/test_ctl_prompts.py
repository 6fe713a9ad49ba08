"""Every question of patronictl in a terminal, answered y, n, with nothing, with
something else, with a default word, with the end of the input and with Ctrl-C:
transcripts as golden text (golden/prompts.txt)."""
import re

import pytest

from cluster import ROOT
from ctl_stage import CITUS, Stage, check

EOF, INTERRUPT = b"\x04", b"\x03"
ENTER = b"\n"
DONE = (200, "fine")
AGAIN = {"POST /reinitialize": [(503, "reinitialize already in progress"), (200, "begun")]}
OLD = {"name": "hand", "postgresql": {"listen": "10.7.0.1"}, "restapi": {}}


def question(site, prompt, arguments, right, before=(), after=(), **options):
    """site: where in the source it is asked; right: an answer that goes on;
    before: questions that come first; after: those that follow the right
    answer."""
    return dict(site=site, prompt=prompt, arguments=arguments, right=right, before=before,
                after=after, options=options)


GROUP = "x0\r\nCitus group: "  # the footer of the table says that, too
SURE = ("Are you sure", b"y\n")
TIME_S = ("When should the switchover", ENTER)
TIME_R = ("When should the restart", ENTER)
VERSION = ("Restart if the PostgreSQL version", ENTER)
QUESTIONS = [
    question("cmd_cluster.c change_role", "Are you sure you want to demote plain cluster?",
             ("demote-cluster", "plain", "--host", "x"), None,
             script={"PATCH /config": (500, "no")}),
    question("cmd_cluster.c change_role", "Are you sure you want to promote standby cluster?",
             ("promote-cluster", "standby"), None, script={"PATCH /config": (500, "no")}),
    question("cmd_cluster.c cmd_remove", "Please confirm the cluster name",
             ("remove", "plain"), "plain", after=[
                 ("Yes I am aware", b"Yes I am aware\n"), ("specify the leader", b"db1\n")]),
    question("cmd_cluster.c cmd_remove", 'type: "Yes I am aware"', ("remove", "plain"),
             "Yes I am aware", before=[("confirm the cluster name", b"plain\n")],
             after=[("specify the leader", b"db1\n")]),
    question("cmd_cluster.c cmd_remove", "Please specify the leader name", ("remove", "plain"),
             "db1", before=[("confirm the cluster name", b"plain\n"),
                            ("Yes I am aware", b"Yes I am aware\n")]),
    question("cmd_config.c confirmed", "Apply these changes?",
             ("edit-config", "plain", "-q", "-s", "ttl=99"), None),
    question("cmd_member.c reinit_one", "Do you want to cancel it and reinitialize anyway?",
             ("reinit", "plain", "db2"), None, before=[SURE], script=AGAIN),
    question("cmd_old.c given_or_asked", "Configuration file [", ("configure",), "./x.yaml",
             after=[("DCS connect url", EOF)]),
    question("cmd_old.c given_or_asked", "DCS connect url [", ("configure", "-c", "DIR/c.yaml"),
             "etcd3://db", after=[("Namespace", ENTER)]),
    question("cmd_old.c given_or_asked", "Namespace [",
             ("configure", "-c", "DIR/c.yaml", "-d", "etcd3://db"), "/ns/"),
    question("cmd_query.c cmd_query", "Password: ",
             ("query", "nosuch", "--password", "-c", "select 1"), "secret"),
    question("cmd_restart.c choose_time", "When should the restart take place",
             ("restart", "plain", "db2"), "2030-01-02T10:00",
             after=[("Are you sure", b"y\n"), VERSION], script={"POST /restart": (202, "")}),
    question("cmd_restart.c confirm_scheduled", "The nodes needing a restart",
             ("restart", "plain", "--pending", "--scheduled", "2030-01-02T10:00"), None,
             after=[VERSION], script={"POST /restart": (202, "")}),
    question("cmd_restart.c confirm_scheduled", "Are you sure you want to schedule restart",
             ("restart", "plain", "db2", "--scheduled", "2030-01-02T10:00:00.5"), None,
             after=[VERSION], script={"POST /restart": (202, "")}),
    question("cmd_restart.c confirm", "Are you sure you want to restart members",
             ("restart", "plain"), None, before=[TIME_R], after=[VERSION],
             script={"POST /restart": DONE}),
    question("cmd_restart.c choose_version", "Restart if the PostgreSQL version is less",
             ("restart", "plain", "db3"), "15.9", before=[TIME_R, SURE],
             script={"POST /restart": DONE}),
    question("cmd_switch.c choose_group", GROUP, ("switchover", "shard"), "10",
             after=[("Primary [x0]", ENTER), ("Candidate ['x1']", ENTER), TIME_S, SURE],
             config=CITUS, script={"POST /switchover": DONE}),
    question("cmd_switch.c choose_leader", "Primary [db1]", ("switchover", "plain"), "db1",
             after=[("Candidate", ENTER), TIME_S, SURE], script={"POST /switchover": DONE}),
    question("cmd_switch.c choose_leader", "Standby Leader [db1]", ("switchover", "standby"),
             "db1", after=[("Candidate", ENTER), TIME_S, SURE],
             script={"POST /switchover": DONE}),
    question("cmd_switch.c ask_candidate", "Candidate ['db2', 'db3'] []",
             ("switchover", "plain", "--leader", "db1"), "db3", after=[TIME_S, SURE],
             script={"POST /switchover": DONE}),
    question("cmd_switch.c ask_candidate", "Candidate ['db2', 'db3'] []", ("failover", "plain"),
             "db3", after=[SURE], script={"POST /failover": DONE}),
    question("cmd_switch.c confirm_asynchronous", "failover to the asynchronous node db3",
             ("failover", "orders", "--candidate", "db3"), None, after=[SURE],
             script={"POST /failover": DONE}),
    question("cmd_switch.c choose_time", "When should the switchover take place",
             ("switchover", "plain", "--leader", "db1", "--candidate", "db2"),
             "2030-01-02T10:00", after=[SURE], script={"POST /switchover": (202, "planned")}),
    question("cmd_switch.c confirm", "Are you sure you want to schedule switchover",
             ("switchover", "plain", "--leader", "db1", "--candidate", "db2", "--scheduled",
              "2030-01-02T10:00"), None, script={"POST /switchover": (202, "planned")}),
    question("cmd_switch.c confirm", "Are you sure you want to failover cluster headless? ",
             ("failover", "headless", "--candidate", "db2"), None,
             script={"POST /failover": DONE}),
    question("cmd_switch.c confirm", "Are you sure you want to switchover cluster plain, demoting",
             ("switchover", "plain", "--leader", "db1", "--candidate", "db2", "--scheduled", "now"),
             None, script={"POST /switchover": DONE}),
    question("select.c ask_for_one", "Which member do you want to reinitialize",
             ("reinit", "plain"), "db2", after=[SURE], script={"POST /reinitialize": DONE}),
    question("select.c select_members", "Are you sure you want to reload members db1, db2, db3?",
             ("reload", "plain"), None, script={"POST /reload": DONE}),
    question("select.c select_members", "Are you sure you want to flush members",
             ("flush", "busy", "restart"), None, script={"DELETE /restart": DONE}),
    question("select.c select_members", "Are you sure you want to reinitialize members db2?",
             ("reinit", "plain", "db2"), None, script={"POST /reinitialize": DONE}),
] + [question("local_act.c confirm", "Are you sure you want to " + text, ("local", *words), None)
     for words, text in (
         (("restart",), "restart this node?"), (("reinit",), "reinitialize this node?"),
         (("switchover",), "switch over from this node?"),
         (("failover", "--candidate", "db2"), "fail over from this node?"),
         (("flush", "restart"), "flush the scheduled restart of this node?"),
         (("restart", "--scheduled", "2030-01-02"), "schedule a restart of this node?"))]


def answers(q):
    """(name, [steps]) of each way to answer."""
    prompt, after = q["prompt"], list(q["after"])
    if q["right"] is None:  # yes or no
        yield "y", [(prompt, b"y\n"), *after]
        yield "yes in other letters", [(prompt, b"  YES \n"), *after]
        yield "n", [(prompt, b"n\n")]
        yield "empty", [(prompt, ENTER)]
        yield "wrong, then n", [(prompt, b"perhaps\n"), (prompt, b"No\n")]
    else:
        right = q["right"].encode() + b"\n"
        yield "right", [(prompt, right), *after]
        # asked again, refused, or taken: as the transcript shows
        yield "empty", [(prompt, ENTER)] + EMPTY.get(prompt, [])
        for word in ("y", "n", "no such thing"):
            yield word, [(prompt, word.encode() + b"\n")] + WRONG.get(prompt, [])
    yield "end of file", [(prompt, EOF)]
    yield "Ctrl-C", [(prompt, INTERRUPT)]


# What is to be said when an empty answer, or a wrong one, is no end.
EMPTY = {
    "Please confirm the cluster name": [("Please confirm", EOF)],
    'type: "Yes I am aware"': [("aware", EOF)],
    "Please specify the leader name": [("Please specify", EOF)],
    "Configuration file [": [("DCS connect url", EOF)],
    "DCS connect url [": [("Namespace", EOF)],
    "Password: ": [("Password", EOF)],
    "When should the restart take place": [SURE, VERSION],
    GROUP: [("Citus group: ", EOF)],
    "Primary [db1]": [("Candidate", EOF)],
    "Standby Leader [db1]": [("Candidate", EOF)],
    "When should the switchover take place": [("Are you sure", EOF)],
}
WRONG = {
    "Configuration file [": [("DCS connect url", EOF)],
    "DCS connect url [": [("Namespace", EOF)],
    GROUP: [("Citus group: ", EOF)],
}


@pytest.fixture(scope="module")
def stage():
    with Stage() as s:
        yield s


def test_every_question_every_answer(stage):
    text = ""
    for q in QUESTIONS:
        for name, steps in answers(q):
            arguments = [a.replace("DIR", str(stage.dir)) for a in q["arguments"]]
            # an empty candidate of a switchover is an answer like another
            if q["prompt"].startswith("Candidate") and name == "empty" \
                    and q["arguments"][0] == "switchover":
                steps = steps + list(q["after"])
            out, code = stage.terminal(arguments, list(q["before"]) + steps, **q["options"])
            # the table is in the other golden texts
            out = re.sub(r"^[|+].*\n", "", out, flags=re.M)
            asked = q["prompt"].split("\n")[-1]
            text += f"==== {' '.join(q['arguments'])} · {asked} · {name}\n{out}" + \
                ("" if out.endswith("\n") else "\n") + f"---- exit {code}\n"
            assert stage.get("plain", "leader") in ("db1", None)
    check("prompts.txt", text)


def test_table_has_every_question():
    """Each place of the source that asks has its rows in the table."""
    sites = set()
    for path in sorted((ROOT / "helpers/ctl").glob("*.c")):
        function = None
        for line in path.read_text().splitlines():
            match = re.match(r"(\w+)\(", line)
            if match:
                function = match.group(1)
            if re.search(r"\bprompt_(confirm|text|integer|password)\(", line) \
                    and path.name != "prompt.c":
                sites.add(f"{path.name} {function}")
    assert sites == {q["site"] for q in QUESTIONS}
