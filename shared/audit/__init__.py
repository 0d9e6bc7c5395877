"""What both ends write down of what happened, and how it is read back (ADR 0018)."""
