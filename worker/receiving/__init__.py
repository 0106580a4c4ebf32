"""The parts of the receiver: who may post what, how it is read, and how it gets onto the stream."""
