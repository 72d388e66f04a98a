"""The modules of `shared` that do input and output."""
