"""The commands of uploaded images and of copies of results."""
