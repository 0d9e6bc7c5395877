"""Who users and agents are, and how they prove it."""
