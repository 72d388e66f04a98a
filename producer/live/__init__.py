"""The live feed of events: one subscription and one look for all who follow jobs in a process."""
