"""The system at its limit and beyond: `attribution load`. docs/load.md tells how to read what it prints."""
