"""Whose fault a database error is: that decides between waiting, splitting the batch, and giving up."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy.exc import DBAPIError, OperationalError, TimeoutError


class Fault(StrEnum):
    """What to do about a database error."""

    #: The server or the moment: the same batch may well succeed in a while.
    TRANSIENT = "transient"
    #: A value in the batch: it will fail again until that value is out of it.
    DATA = "data"
    #: Our statement or our installation: retrying does not help, and no value is to blame.
    OURS = "ours"


#: SQLSTATE classes and codes that pass by themselves: lost connection, rollback (serialization, deadlock), resources,
#: an object in use or a lock not had in time, an operator's intervention or a timeout, a read-only standby after a
#: failover, an idle transaction ended, a unique key lost to a concurrent writer, a system error, a failed fsync.
_TRANSIENT = ("08", "40", "53", "55", "57", "25006", "25P03", "23505", "58", "F0")
#: A statement that took longer than it may, or waited for longer.
QUERY_CANCELED = "57014"
#: Data exception, integrity constraint violation, program limit exceeded, untranslatable character.
_DATA = ("22", "23", "54")


def fault_of(error: Exception) -> Fault:
    """Classify ``error`` by its SQLSTATE; an error without one comes from a connection that broke."""
    if isinstance(error, TimeoutError):  # no connection free in the pool
        return Fault.TRANSIENT
    if isinstance(error, UnicodeEncodeError):  # text that UTF-8 cannot carry, refused by the driver
        return Fault.DATA
    if not isinstance(error, DBAPIError):
        return Fault.OURS
    state = sqlstate_of(error)
    if state is None:
        broken = error.connection_invalidated or isinstance(error, OperationalError)
        return Fault.TRANSIENT if broken else Fault.DATA
    if state.startswith(_TRANSIENT):
        return Fault.TRANSIENT
    return Fault.DATA if state.startswith(_DATA) else Fault.OURS


def sqlstate_of(error: Exception) -> str | None:
    """Return the five characters PostgreSQL gave ``error``, if it came from PostgreSQL."""
    return getattr(getattr(error, "orig", None), "sqlstate", None)


def sentence_of(error: BaseException) -> str:
    """Return what an error says in a line: of PostgreSQL's the complaint, without the statement that it is about."""
    return str(error.args[0] if error.args else "").partition("\n")[0]
