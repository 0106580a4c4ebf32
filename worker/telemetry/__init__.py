"""What the system tells of itself: logs, metrics, errors, traces."""
