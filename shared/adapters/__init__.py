"""The only rooms of `shared` that do input and output."""
