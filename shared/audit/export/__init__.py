"""Sends the log elsewhere: from its own files, by threads of its own, in order, without a gap."""
