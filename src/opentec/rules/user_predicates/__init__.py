"""Predicates that users write in Python: what they may say, how it is read, and how rules call it."""
