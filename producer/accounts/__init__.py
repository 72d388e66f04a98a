"""Accounts: their credits and limits, and the refusals of orders by a limit."""
