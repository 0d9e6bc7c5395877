"""Records in the words of other systems: pure, total, and one record is always one line."""
