"""This machine itself: nodeproof plan inventories/local.py"""

local = ["@local"]
