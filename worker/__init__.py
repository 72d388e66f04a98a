"""The way through: claims jobs, submits them to Kie, polls until the end, settles."""
