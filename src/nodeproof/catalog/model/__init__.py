"""What an entry of the catalog may say, by subject."""
