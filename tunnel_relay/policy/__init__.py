"""The relay's own policy: its file, and the one that a new relay starts with."""
