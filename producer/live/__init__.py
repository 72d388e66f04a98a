"""The live feed of events: one subscription and one reader for all listeners of a process."""
