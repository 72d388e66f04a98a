"""`darkroom up`, and the commands that become another program."""
