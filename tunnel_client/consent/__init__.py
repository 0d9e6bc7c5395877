"""What the operator agreed to run, and the check that it is still that."""
