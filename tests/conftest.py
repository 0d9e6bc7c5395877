"""What holds for every test."""

from shared.link.loop import name_the_loop

# As the programs do it at their start; tests drive their parts without starting them.
name_the_loop()
