"""Inspect, plan and apply over the hosts of an inventory."""
