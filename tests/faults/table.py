"""Every fault that the promise is to survive: what is done, what must come of it, and the tests that show it.

docs/reliability.md tells the same to operators; `tests/faults/test_table.py` compares the two.
"""

from __future__ import annotations

from typing import NamedTuple


class Fault(NamedTuple):
    """One row. ``tests`` are ``file::test``, below ``tests/``."""

    number: int
    name: str
    done: str
    outcome: str
    tests: tuple[str, ...]


_DRAIN = "tasks/test_drain.py::"
_WORKER = "acceptance/test_worker.py::"
_FROZEN = "faults/test_frozen_postgresql.py::"
_RECEIVER = "worker/test_receiver_without_redis.py::"

FAULTS = (
    Fault(
        1,
        "A drain is killed before its COMMIT",
        "SIGKILL as the transaction is about to commit, on either stream",
        "Its entries are claimed, and counted once",
        (
            _DRAIN + "test_a_drain_killed_at_any_moment_is_made_good_by_the_next",
            _WORKER + "test_a_drain_process_killed_is_replaced_and_what_it_held_is_claimed",
        ),
    ),
    Fault(
        2,
        "A drain is killed after its COMMIT, before it acknowledges",
        "SIGKILL in place of XACK",
        "Its entries come again and change nothing",
        (_DRAIN + "test_a_drain_killed_at_any_moment_is_made_good_by_the_next",),
    ),
    Fault(
        3,
        "A drain is killed between its COMMIT and its re-check",
        "SIGKILL in place of the re-check",
        "Whoever gets its entries looks again: nothing stays parked that is tracked",
        (
            _DRAIN + "test_a_drain_killed_at_any_moment_is_made_good_by_the_next",
            "db/test_race.py::test_both_reading_before_either_commits_is_settled_by_whoever_looks_last",
        ),
    ),
    Fault(
        4,
        "A drain freezes for longer than the idle time",
        "SIGSTOP in the middle of its transaction, until another has done its work",
        "Two work the same entries, one of them counts",
        ("faults/test_frozen.py::test_what_a_frozen_drain_holds_is_worked_by_another_and_counted_once",),
    ),
    Fault(
        5,
        "A Celery child is killed, or out of memory",
        "SIGKILL of the child whenever it takes the task",
        "Tried a bounded number of times; then its trackings are kept on their stream",
        (
            "faults/test_celery.py::"
            "test_a_task_that_kills_its_child_is_tried_a_few_times_and_then_its_trackings_are_kept_on_their_stream",
            _DRAIN + "test_an_entry_that_keeps_ending_its_drain_is_quarantined_alone",
        ),
    ),
    Fault(
        6,
        "A worker's main process is killed",
        "SIGKILL of it, and of its children with it",
        "Its drain processes end by themselves; what it had taken comes back by the visibility timeout",
        (
            _WORKER + "test_drain_processes_do_not_outlive_a_killed_worker",
            "faults/test_celery.py::test_what_a_killed_worker_had_taken_comes_back_by_the_visibility_timeout",
        ),
    ),
    Fault(
        7,
        "Redis is killed and comes back",
        "SIGKILL with entries on it, with requests coming, with unacknowledged Celery messages",
        "503 meanwhile; receiver and worker go on by themselves; nothing is lost",
        (
            _RECEIVER + "test_redis_down_and_back",
            _WORKER + "test_a_redis_killed_with_entries_on_it_has_them_all_when_it_is_back",
            _WORKER + "test_the_worker_outlives_a_redis_killed_under_unacknowledged_messages",
        ),
    ),
    Fault(
        8,
        "The power of Redis's machine goes",
        "SIGKILL, and its files are cut to what fsync had confirmed",
        "Nothing that was answered 200 is lost with `appendfsync always`; with `everysec`, the last second or two",
        (
            "faults/test_power.py::test_a_power_cut_costs_nothing_that_was_answered_200",
            "faults/test_power.py::test_with_appendfsync_always_a_power_cut_loses_no_acknowledged_entry",
            "faults/test_power.py::"
            "test_with_appendfsync_everysec_a_power_cut_loses_the_last_entries_and_no_earlier_one",
            "worker/test_redis_checks.py::test_unsafe_redis_is_refused_with_what_cures_it",
        ),
    ),
    Fault(
        9,
        "Redis's disk stalls",
        "Its fsyncs are held, and it is killed, or loses power, while they are",
        "Late answers, or 503; nothing that was answered 200 is lost",
        (
            "faults/test_power.py::test_a_stalled_fsync_is_answered_503_and_costs_nothing_that_was_answered_200",
            "faults/test_power.py::test_a_slow_disk_only_makes_answers_slow",
            "faults/test_power.py::test_with_appendfsync_always_kill_9_under_a_stalled_disk_loses_nothing",
        ),
    ),
    Fault(
        10,
        "Redis's memory is full",
        "Events until Redis refuses them",
        "503; draining goes on and makes room; Celery recovers",
        (
            _RECEIVER + "test_redis_full",
            _RECEIVER + "test_memory_over_the_limit",
            _WORKER + "test_draining_goes_on_while_redis_is_full_and_celery_recovers",
        ),
    ),
    Fault(
        11,
        "The disk of Redis's log is full",
        "Writes to its append-only file fail",
        "Redis ends; 503 and an alarm; what was answered 200 is there when it is back",
        ("faults/test_disk_full.py::test_a_full_disk_ends_redis_and_costs_nothing_that_was_answered_200",),
    ),
    Fault(
        12,
        "Redis fails over, or is cut off from its replica",
        "The link to the replica is silent, or the primary killed; the replica is promoted at the same address",
        "503 without a replica; only what was taken within `min-replicas-max-lag` can be lost; the receiver follows",
        (
            "faults/test_failover_redis.py::"
            "test_a_primary_cut_off_from_its_replica_refuses_within_the_lag_and_only_that_can_be_lost",
            "faults/test_failover_redis.py::test_a_primary_that_dies_is_followed_to_its_successor",
            _RECEIVER + "test_replica",
            _RECEIVER + "test_too_few_replicas",
        ),
    ),
    Fault(
        13,
        "A connection is silently gone",
        "Nothing passes on any connection there is, none is closed, new ones work",
        "All go on within a minute: receiver, drain, Celery; to Redis and to PostgreSQL",
        (
            "faults/test_silence.py::test_the_receiver_answers_503_and_connects_anew",
            "faults/test_silence.py::test_a_worker_whose_connections_are_all_silently_gone_goes_on_within_a_minute",
            "faults/test_silence.py::test_the_celery_door_of_such_a_worker_opens_again_within_a_minute",
            "faults/test_silence.py::test_a_commit_without_an_answer_is_given_up_as_well",
        ),
    ),
    Fault(
        14,
        "Redis is emptied, or loses its group",
        "FLUSHALL; the group deleted; an older copy of the data brought back",
        "The group is made anew at the beginning; entries that are gone are alarmed",
        (
            "faults/test_emptied.py::test_a_redis_that_was_emptied_is_alarmed_by_the_receiver_and_taken_into_use_again",
            "faults/test_emptied.py::"
            "test_older_data_that_were_brought_back_are_alarmed_and_what_comes_again_is_counted_once",
            "faults/test_emptied.py::test_a_group_that_was_deleted_costs_nothing_and_is_no_alarm_of_a_loss",
            "faults/test_emptied.py::test_a_drain_that_waits_when_redis_is_emptied_goes_on",
        ),
    ),
    Fault(
        15,
        "PostgreSQL is killed and comes back",
        "SIGKILL, and a restart, under load; away for longer than a batch waits",
        "Batches wait, are given back, and come again; this does not count against them",
        (
            _WORKER + "test_a_postgresql_restarted_under_load_costs_no_event",
            _DRAIN + "test_while_postgresql_is_away_entries_stay_pending_and_are_not_held_against_them",
            "tasks/test_track.py::test_while_postgresql_is_away_trackings_move_to_their_stream",
        ),
    ),
    Fault(
        16,
        "The answer to a COMMIT is lost",
        "PostgreSQL commits, its answer is dropped, the connection is cut",
        "Tried again, and counted once",
        ("faults/test_commit.py::test_a_commit_whose_answer_is_lost_counts_once",),
    ),
    Fault(
        17,
        "PostgreSQL fails over to its standby",
        "The primary is killed under load, its synchronous standby promoted; the standby is away",
        "Nothing is lost; without the standby nothing is acknowledged",
        (
            "faults/test_failover_postgresql.py::test_the_standby_takes_over_under_load_and_nothing_is_lost",
            "faults/test_failover_postgresql.py::"
            "test_without_its_standby_nothing_is_acknowledged_and_all_goes_on_when_it_is_back",
            "db/test_address.py::test_a_connection_to_what_has_become_a_standby_is_not_used_again",
        ),
    ),
    Fault(
        18,
        "A deadlock, a serialization failure, a lock that is not had in time",
        "Foreign sessions hold and want what the batch wants and holds; each such error in turn",
        "The whole batch is tried again; nothing is quarantined for it",
        (
            "faults/test_conflicts.py::test_a_deadlock_with_a_foreign_writer",
            "faults/test_conflicts.py::test_a_serialization_failure_under_a_stricter_isolation",
            "faults/test_conflicts.py::test_a_lock_that_is_not_had_in_time",
            "faults/test_conflicts.py::test_whatever_passes_by_itself",
        ),
    ),
    Fault(
        19,
        "Beat is dead, or runs twice",
        "Two beats tick ten times as often as usual; then both are killed",
        "Nothing happens twice; draining and releasing go on without any",
        (
            "faults/test_beat.py::test_two_beats_do_nothing_twice_and_without_any_draining_and_releasing_go_on",
            "db/test_parking.py::test_sweeps_at_once_share_the_work_and_take_each_event_once",
            _WORKER + "test_draining_needs_no_beat_and_no_celery_message",
        ),
    ),
    Fault(
        20,
        "Worker and mailer are of different releases",
        "A task of a name that the worker does not have, carrying a tracking",
        "Names of tasks do not change unnoticed; it is logged, and what it carried is kept in quarantine",
        (
            "faults/test_celery.py::test_a_task_of_another_release_is_told_and_what_it_carried_is_kept",
            "worker/test_celery_app.py::test_the_tasks_are_exactly_these_so_that_a_renamed_one_is_noticed",
        ),
    ),
    Fault(
        21,
        "PostgreSQL freezes",
        "SIGSTOP of all its processes, while beat ticks and mailers track by Celery",
        "Maintenance waits without holding up anything; trackings move to their stream; all go on when it does",
        (
            _FROZEN + "test_while_postgresql_is_frozen_maintenance_holds_up_neither_trackings_nor_what_beat_asks_for",
            _FROZEN + "test_silence_is_noticed_soon_and_postgresql_is_then_left_alone_for_a_while",
            _FROZEN + "test_an_answer_stands_for_a_moment_so_that_short_tasks_do_not_each_ask",
            _FROZEN + "test_a_question_leaves_a_connection_as_it_was",
            _FROZEN + "test_maintenance_is_left_for_later",
            _FROZEN + "test_trackings_move_to_their_stream_at_once",
            _FROZEN + "test_what_redis_tells_is_measured",
        ),
    ),
    Fault(
        22,
        "PostgreSQL takes no writes",
        "default_transaction_read_only, as a failover or a provider with a full disk leaves it",
        "The same as when it freezes: batches wait and come again, trackings move to their stream",
        (
            _FROZEN + "test_one_that_takes_no_writes_is_left_alone_and_its_connection_is_not_used_again",
            "tasks/test_patience.py::test_a_transaction_that_is_tried_again_says_so_once_and_why_without_its_statement",
        ),
    ),
)
