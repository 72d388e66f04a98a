"""The commands of `darkroom`, one module for each group."""
