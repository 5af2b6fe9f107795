"""RIM: the event repository, and everything that writes or asks it."""
