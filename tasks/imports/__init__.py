"""Imports: events that never came over the stream, read from where others have kept them."""
