"""Lists and replays webhook messages, and manages the secrets that sign them."""
