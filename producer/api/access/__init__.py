"""Who may call the API, from where, and how much at once."""
