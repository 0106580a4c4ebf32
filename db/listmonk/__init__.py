"""listmonk's own tables: the only place that writes to them. They are found, never made or changed.

``links``      what a clicked URL says: pure functions
``tables``     which of its tables are here, and what its settings ask for
``acts``       views and clicks, each counted once
``native``     what listmonk's own pixel and redirect have counted
``matching``   which of its rows and ours are one act: pure functions
"""
