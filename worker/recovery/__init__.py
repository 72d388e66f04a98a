"""Recovery of jobs and task ids after lost deliveries, lost writes and late results."""
