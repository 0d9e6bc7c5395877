"""The client's own policy: its file, and the one that a new client starts with."""
