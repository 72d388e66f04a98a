"""The commands of the queue: its overview, its pauses, and what operators end in it."""
