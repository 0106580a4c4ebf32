"""What is done to the system: each fault is a context, which strikes on entry and is lifted on exit."""
