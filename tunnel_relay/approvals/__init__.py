"""Approvals: a human's single-use permission for one tool call with exactly these arguments."""
