"""Judgement: facts of hardware held against what the catalog says of it, as pure functions."""
