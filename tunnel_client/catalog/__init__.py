"""What upstreams offer, and which of it an operator has approved."""
