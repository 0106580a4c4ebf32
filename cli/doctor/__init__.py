"""`attribution doctor`: look at an installation as an experienced operator would, and say what to do about it.

A subject is a module with its checks. They ask an `cli.doctor.installation.Installation` for what they need, and yield
what they find; `cli.doctor.examination` runs them all, beside each other and within a time.
"""

from __future__ import annotations

from cli.doctor.command import doctor

__all__ = ["doctor"]
