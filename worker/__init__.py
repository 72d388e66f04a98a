"""The worker: claims jobs, submits them to Kie, polls until they end, and charges for successes."""
