"""What the client writes down: records of calls and of everything that bears on them."""
