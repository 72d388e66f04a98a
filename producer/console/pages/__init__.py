"""The handlers of pages and actions, one module per page."""
