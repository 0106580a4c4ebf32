"""`python -m cli` is `attribution`, where the latter is not installed."""

from cli.main import main

main(prog_name="attribution")
