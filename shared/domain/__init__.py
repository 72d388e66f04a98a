"""The rules of the trade, pure: no input, no output, no clock of its own."""
