"""The pipeline: joins the runtime and the database, and is the only place that knows both."""
