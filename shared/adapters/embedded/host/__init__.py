"""What the embedded servers use of the machine: files, users, processes."""
