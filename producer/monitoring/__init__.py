"""What an operator looks at: the overview of the queue, and its history."""
