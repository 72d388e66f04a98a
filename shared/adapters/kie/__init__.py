"""Which Kie this process uses, and its file upload host."""
