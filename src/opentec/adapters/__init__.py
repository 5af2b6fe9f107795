"""Sources that turn something into events, and what they share."""
