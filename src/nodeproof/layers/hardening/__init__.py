"""What CIS and STIG ask of a server and no other layer does."""
