"""What an event is: classes (BAROC), typed slots, the event text form, the records of the log."""
