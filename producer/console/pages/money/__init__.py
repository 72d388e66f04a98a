"""Pages of prices, accounts, the margin and the audit entries."""
