"""Results from elsewhere: add the listeners whose answers are possible.

    results.json, or the file of an offline page ──replayed──┬─▶ added
                                                             ├─▶ known: here already
                                                             └─▶ refused, and why

One bad listener never stops the others. Also refused: other answers of a listener who
is here already, and the same answers under another code. Notebook: 13.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mssedu.errors import InputError
from mssedu.listening.test.names import shown
from mssedu.listening.test.replay import (
    FAULTS,
    TABLES,
    Orders,
    Record,
    Rows,
    check_page,
    label_of,
    page_record,
    pages_in,
    reason_of,
    replayed,
    row_record,
)
from mssedu.listening.test.store import ResultStore


@dataclass(frozen=True)
class Merged:
    """What became of the listeners of a file."""

    added: tuple[str, ...] = ()
    known: tuple[str, ...] = ()  # they are here already, with the same answers
    refused: tuple[tuple[str, str], ...] = ()  # listener, reason


def merge_page(store: ResultStore, document: Mapping[str, Any]) -> Merged:
    """Add the file that a listener has saved from an offline page.

    Raises:
        InputError: a document of another form, or answers to another test.
        KeyError, TypeError: no such file at all.
    """
    if document["sha256"] != store.design.sha256():
        raise InputError(f"the answers belong to another test than {store.path}.")
    record = page_record(store.design, document, store.handed_out())
    return _merge(store, [(record.listener, lambda: record)])


def merge_answers(store: ResultStore, document: Mapping[str, Any]) -> list[str]:
    """As `merge_page`; returns the listener if it is new.

    Raises:
        InputError: as `merge_page`, or answers that the page does not allow.
    """
    merged = merge_page(store, document)
    for _, reason in merged.refused:
        raise InputError(reason)
    return [*merged.added]


def merge_results(store: ResultStore, document: Mapping[str, Any]) -> Merged:
    """Add the listeners of another results file of the same test.

    The document has the rows of each table, as `ResultStore.rows` returns them.

    Raises:
        KeyError, TypeError, AttributeError: a document of another form.
    """
    store.check_test(document["design"])
    groups, orders = _grouped(document), Orders(store.design)
    drawn = {row["listener"]: row["number"] for row in document.get("drawn", [])}

    def reader(row: Mapping[str, Any]) -> Callable[[], Record]:
        def read() -> Record:
            number = drawn.get(row["id"], row["number"])
            pages, order = orders.find(row["plan"], number)
            return row_record(row, groups.get(row["id"], {}), pages, order)

        return read

    listeners = document["listeners"]
    return _merge(store, [(shown(row["id"]), reader(row)) for row in listeners])


def impossible(store: ResultStore) -> dict[str, str]:
    """Listeners of a store whose answers no test can give -> what is wrong.

    Older versions have merged such answers without a check, and have saved what a
    broken page sent. The rows stay in the file.
    """
    tables = store.tables(("listeners", *TABLES))
    groups, faults = _grouped(tables), {}
    for row in tables["listeners"]:
        try:
            pages = pages_in(row["plan"])
            for page in pages:
                check_page(store.design, page)
            record = row_record(row, groups.get(row["id"], {}), pages)
            replayed(store.design, record, ours=True)
        except FAULTS as error:
            faults[row["id"]] = reason_of(error)
    return faults


def _merge(
    store: ResultStore, records: Iterable[tuple[str, Callable[[], Record]]]
) -> Merged:
    """Add the records that are possible and new, in one transaction."""
    saved = store.tables(("listeners", *TABLES))
    groups = _grouped(saved)
    here: dict[str, Rows] = {}  # listener -> rows, also of the new ones
    acts: dict[frozenset[Any], str] = {}  # all ratings of a listener -> listener
    for row in saved["listeners"]:
        own = groups.get(row["id"], {})
        here[row["id"]] = {name: own.get(name, []) for name in TABLES}
        acts.setdefault(_acts(row["plan"], here[row["id"]]), row["id"])
    added: list[dict[str, Any]] = []
    known, refused = [], []
    rows: Rows = {name: [] for name in TABLES}
    for name, read in records:
        try:
            record = read()
            row, tables = record.row(), replayed(store.design, record)
            if row["id"] in here:
                _check_same(tables, here[row["id"]], row["id"])
                known.append(row["id"])
                continue
            _check_copy(acts, _acts(row["plan"], tables), row["id"])
        except FAULTS as error:
            refused.append((name, reason_of(error)))
            continue
        here[row["id"]] = tables
        added.append(row)
        for table in TABLES:
            rows[table] += tables[table]
    store.merge({"design": store.design.as_json(), "listeners": added, **rows})
    return Merged(tuple(row["id"] for row in added), tuple(known), tuple(refused))


def _check_same(new: Rows, old: Rows, listener: str) -> None:
    """Raise InputError unless two versions of a listener's answers are equal."""
    for table in TABLES:
        texts = [
            sorted(json.dumps(row, sort_keys=True) for row in rows[table])
            for rows in (new, old)
        ]
        if texts[0] != texts[1]:
            raise InputError(
                f"listener {listener} is here already, with other {table}. The answers "
                "that came first are kept."
            )


def _check_copy(
    acts: dict[frozenset[Any], str], new: frozenset[Any], listener: str
) -> None:
    """Raise InputError if somebody else did the same at the same times."""
    twin = acts.setdefault(new, listener) if new else listener
    if twin != listener:
        raise InputError(
            f"listener {twin} has given the same answers at the same times: this is a "
            "copy under another code. Leave it out."
        )


def _acts(plan_text: Any, rows: Rows) -> frozenset[Any]:
    """What a listener did and when, without the code and the order of the pages."""
    try:
        pages = pages_in(plan_text)
        return frozenset(
            (row["page"], row["question"], label_of(pages, row), row["rated"])
            + ((row["score"],) if row["label"] else ())  # that of a choice is X's
            for row in rows["ratings"]
        )
    except FAULTS:  # of a store of an older version
        return frozenset()


def _grouped(document: Mapping[str, Any]) -> dict[str, Rows]:
    """Listener -> table -> rows."""
    groups: dict[str, Rows] = {}
    for table in TABLES:
        for row in document[table]:
            groups.setdefault(row["listener"], {}).setdefault(table, []).append(row)
    return groups
