"""The commands of accounts, prices and the margin."""
