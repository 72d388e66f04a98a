"""When a waiting job is submitted: its position in the fair order, and the expected time."""
