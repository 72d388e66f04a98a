"""The rules of the domain. Pure: no input or output, and no clock."""
