"""The pipelines against a model of the truth: whatever is done, in any order, dying anywhere, both agree."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from tests.model.any_interleaving import AnyInterleaving
from tests.model.any_order import AnyOrder
from tests.model.beside_listmonk import BesideListmonk
from tests.model.process import Watch
from tests.model.workplace import Workplace

pytestmark = pytest.mark.timeout(3600)


def run(machine: Callable[[], RuleBasedStateMachine], effort: settings) -> None:
    run_state_machine_as_test(machine, settings=effort)  # type: ignore[arg-type]


def test_in_any_order_dying_at_any_commit_database_and_model_agree(place: Workplace, effort: settings) -> None:
    run(lambda: AnyOrder(place), effort)


def test_in_any_interleaving_killed_at_any_statement_database_and_model_agree(
    gated_place: Workplace, place: Workplace, database_url: str, effort: settings
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        watch = Watch(place.ctx.engine, connection)
        run(
            lambda: AnyInterleaving(gated_place, watch),
            settings(effort, stateful_step_count=2 * effort.stateful_step_count),
        )


class TestInListmonksDatabase:
    """The same pipelines, whose events are counted in listmonk's own tables."""

    @pytest.fixture
    def database_url(self, listmonk_database_url: str) -> str:
        return listmonk_database_url

    def test_each_act_is_counted_once_whoever_sees_it_first(
        self, place: Workplace, database_url: str, effort: settings
    ) -> None:
        with psycopg.connect(database_url, autocommit=True) as native:
            run(lambda: BesideListmonk(place, native), settings(effort, max_examples=effort.max_examples // 2))
