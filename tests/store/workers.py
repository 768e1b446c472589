"""What runs in processes of its own, to be killed: clients of a store that never lose patience."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from datetime import UTC, date, datetime, timedelta

from server.store import draws, holds, repayments
from server.store.engine import open_store
from server.store.holds import HoldRequest
from server.store.repayments import RepaymentRequest
from shared.errors import Conflict, EnvironmentFault
from tests.store.kit import terms

PATIENCE = 200  # seconds


def now():
    return datetime.now(UTC)


def draw_once(url, line, name, gate, answers):
    """Draw 1.00 when the gate opens."""
    store = open_store(url)
    asked = HoldRequest(name, line, 100, "CNY", "shopping")
    gate.wait()
    try:
        with store.write() as db:
            draws.draw(db, asked, terms(100), now())
        answers.put("drawn")
    except Conflict as error:
        answers.put(error.check)
    store.close()


def work(url, lines, number, threads, each, file):
    """Be so many clients; note every answer, in one write, once it is had."""
    log = os.open(file, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    until = time.monotonic() + PATIENCE
    store = patiently(lambda: open_store(url, pool=threads), until)
    failed = []

    def client(seed):
        try:
            for step in range(each):
                name = f"c{number}.{seed}.{step}"
                told = patiently(lambda name=name: ask(store, lines, name), until)
                os.write(log, f"{json.dumps([name, *told])}\n".encode())
        except BaseException as error:
            failed.append(error)
            raise

    clients = [threading.Thread(target=client, args=(seed,)) for seed in range(threads)]
    for one in clients:
        one.start()
    for one in clients:
        one.join()
    os._exit(1 if failed else 0)


def patiently(ask_once, until):
    """Ask again while the database is away, or another asks the same at the same moment."""
    while True:
        try:
            return ask_once()
        except (EnvironmentFault, Conflict) as error:
            if isinstance(error, Conflict) and error.check != "id":
                raise
            if time.monotonic() > until:
                raise
            time.sleep(0.02)


def ask(store, lines, name):
    """Ask for one thing; what it is depends on its name only."""
    choose = random.Random(name)
    line, amount = choose.choice(lines), choose.randint(1, 50)
    kind = choose.choice(["draw", "hold", "repay"])
    try:
        with store.write() as db:
            if kind == "repay":
                asked = RepaymentRequest(name, name, line, amount, "CNY", date(2026, 3, 1))
                repayments.repay(db, asked, now())
                return ("repay", line, amount)
            asked = HoldRequest(name, line, amount, "CNY", "shopping")
            if kind == "draw":
                draws.draw(db, asked, terms(amount, bank=amount // 2), now())
                return ("draw", line, amount)
        # In two steps, and killed between them: the hold is found again, and posted once.
        with store.write() as db:
            holds.hold(db, asked, now() + timedelta(hours=1), now())
        with store.write() as db:
            draws.post(db, name, terms(amount, bank=amount // 2), now())
    except Conflict as error:
        if error.check == "id":
            raise
        return ("refused", line, amount)
    return ("draw", line, amount)
