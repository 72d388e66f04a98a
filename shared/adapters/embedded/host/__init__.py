"""Files, users and processes of the machine, for the embedded servers."""
