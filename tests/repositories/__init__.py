"""Small signed package repositories with the vendors' layout, names and version relations."""
