"""Price changes, refunds, statements of accounts, and the margin over what Kie charges."""
