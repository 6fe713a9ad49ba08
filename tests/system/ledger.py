"""A client that keeps a ledger of the rows that were acknowledged to it."""
import threading

import psycopg2


class Ledger:
    """Writes numbered rows to whichever node is primary; remembers every
    number whose commit was acknowledged.  lost() compares with the table."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.acknowledged = []
        self.errors = 0
        self.stop_event = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        leader = self.cluster.wait_leader()
        leader.sql("create table if not exists ledger (n bigint primary key)")
        leader.sql("truncate ledger")  # of another test on this cluster
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.stop_event.set()
        self.thread.join(60)

    def connect(self):
        hosts = ",".join("127.0.0.1" for _ in self.cluster.nodes)
        ports = ",".join(str(n.pg_port) for n in self.cluster.nodes)
        connection = psycopg2.connect(
            host=hosts, port=ports, user="postgres", dbname="postgres",
            target_session_attrs="read-write", connect_timeout=2,
            options="-c statement_timeout=5000")
        connection.autocommit = True
        return connection

    def run(self):
        number = 0
        connection = None
        while not self.stop_event.is_set():
            number += 1
            try:
                if connection is None:
                    connection = self.connect()
                with connection.cursor() as cursor:
                    cursor.execute("insert into ledger values (%s)", (number,))
                # a wait for the standby that the timeout cut short succeeds
                # with a warning: committed here alone, nothing is promised
                if not connection.notices:
                    self.acknowledged.append(number)
                connection.notices.clear()
            except psycopg2.Error:
                self.errors += 1
                if connection is not None:
                    connection.close()
                connection = None
                self.stop_event.wait(0.02)
        if connection is not None:
            connection.close()

    def lost(self, node):
        """Acknowledged numbers that the node does not have."""
        promised = set(self.acknowledged)  # first: it may still grow
        have = {row[0] for row in node.sql("select n from ledger")}
        return sorted(promised - have)
