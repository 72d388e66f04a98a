"""`darkroom up` with its child processes, and the commands that run another program."""
