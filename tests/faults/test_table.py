"""The table of faults is complete, names tests that exist, and is what docs/reliability.md tells."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.faults.table import FAULTS, Fault
from tests.pages import read, section, table_rows

TESTS = Path(__file__).parents[1]


def functions(file: Path) -> dict[str, ast.FunctionDef]:
    return {node.name: node for node in ast.parse(file.read_text()).body if isinstance(node, ast.FunctionDef)}


def test_every_fault_has_its_row_and_its_outcome() -> None:
    assert [fault.number for fault in FAULTS] == list(range(1, 23))
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    assert all(fault.done and fault.outcome and fault.tests for fault in FAULTS)


@pytest.mark.parametrize("fault", FAULTS, ids=[f"fault-{fault.number}" for fault in FAULTS])
def test_each_test_that_a_row_names_exists_and_asserts(fault: Fault) -> None:
    for named in fault.tests:
        file, _, name = named.partition("::")
        test = functions(TESTS / file)[name]
        steps = list(ast.walk(test))
        called = {step.func.id for step in steps if isinstance(step, ast.Call) and isinstance(step.func, ast.Name)}
        raises = any(isinstance(step, ast.Attribute) and step.attr == "raises" for step in steps)
        asserts = any(isinstance(step, ast.Assert) for step in steps)
        # What is waited for, and what begins with assert_, raises an AssertionError of its own.
        assert asserts or raises or any(each == "eventually" or "assert" in each for each in called), named


def test_no_test_of_a_fault_is_without_a_row() -> None:
    named = {test for fault in FAULTS for test in fault.tests}
    elsewhere = {
        # What the rows' tests rest on.
        "faults/test_silence.py::test_postgresql_that_says_nothing_is_given_up_and_the_next_connection_is_new",
        "faults/test_silence.py::test_migrations_are_waited_for",
        "faults/test_silence.py::test_a_statement_may_take_as_long_as_its_limit_and_longer_where_the_address_says_so",
        "faults/test_emptied.py::test_the_first_drain_of_a_new_redis_alarms_nobody",
        "faults/test_orphans.py::test_the_sweep_does_not_stand_still_before_orphaned_tracking_rows",
    }
    ours = {
        f"faults/{file.name}::{name}"
        for file in Path(__file__).parent.glob("test_*.py")
        if file != Path(__file__)
        for name in functions(file)
        if name.startswith("test_")
    }
    assert ours - named == elsewhere


def test_the_page_for_operators_tells_the_same() -> None:
    told = table_rows(section(read("docs/reliability.md"), "Every fault"))[1:]
    assert [(number, name, outcome) for number, name, _, outcome in told] == [
        (str(fault.number), fault.name, fault.outcome) for fault in FAULTS
    ]
