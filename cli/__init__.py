"""The console command `attribution`. The outermost layer: it may know everything, and nothing knows it."""
