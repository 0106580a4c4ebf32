"""The promise put to the proof: the system under load while its parts are killed, frozen, starved and cut off."""
