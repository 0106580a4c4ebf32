"""Linux's ptrace, as much of it as it takes to see the system calls of a process."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from typing import Any, Final

#: Requests, options and flags of Linux's headers, which are the same on every architecture.
SEIZE, INTERRUPT, LISTEN, SYSCALL, _SYSCALL_INFO = 0x4206, 0x4207, 0x4208, 24, 0x420E
TRACE_SYSTEM_CALLS, TRACE_NEW_THREADS = 0x1, 0x8
#: The event of a stop that no signal caused.
EVENT_STOP = 128
#: For `waitpid`: any thread that the calling thread traces, and no child of another thread of ours.
TRACED = 0x40000000 | 0x20000000

#: Numbers of fsync and fdatasync, by machine.
SYNCS: Final = {"x86_64": (74, 75), "aarch64": (82, 83)}

_ENTRY = 1
_INFO_BYTES = 96


class CannotTrace(Exception):
    """This machine does not let processes be traced. Its text says what is missing."""


class Entry:
    """A thread has come to a system call."""

    def __init__(self, number: int, arguments: tuple[int, ...]) -> None:
        self.number = number
        self.arguments = arguments


class Exit:
    """A system call is about to return ``result``; it is negative after an error."""

    def __init__(self, result: int) -> None:
        self.result = result


class Ptrace:
    """The system call. It knows a tracer by its thread: use one object in one thread only.

    Raises:
        CannotTrace: this is no Linux, or none whose system calls we know by number.
    """

    def __init__(self) -> None:
        system, machine = platform.system(), platform.machine()
        if system != "Linux" or machine not in SYNCS:
            raise CannotTrace(f"system calls of {system} on {machine} cannot be watched")
        self._call: Any = ctypes.CDLL(None, use_errno=True).ptrace
        self._call.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        self._call.restype = ctypes.c_long
        self._info = ctypes.create_string_buffer(_INFO_BYTES)

    def __call__(self, request: int, thread: int, address: int = 0, data: int = 0) -> None:
        """Make a request of ``thread``.

        Raises:
            OSError: the kernel refuses, or the thread is gone.
        """
        if self._call(request, thread, address, data) == -1:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def system_call(self, thread: int) -> Entry | Exit:
        """Return where a thread has stopped. Its stop must be that of a system call."""
        # This request returns the number of bytes that it filled in.
        if self._call(_SYSCALL_INFO, thread, _INFO_BYTES, ctypes.addressof(self._info)) == -1:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        if self._info.raw[0] == _ENTRY:
            number, *arguments = struct.unpack_from("=7Q", self._info.raw, 24)
            return Entry(number, tuple(arguments))
        return Exit(struct.unpack_from("=q", self._info.raw, 24)[0])
