"""The cage of a stdio server: what the machine can do, what a child may see, how it starts."""
