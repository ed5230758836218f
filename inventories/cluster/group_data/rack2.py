"""The second rack is still being moved in: what workloads do there is noted, not denied."""

confinement = {"mode": "complain"}
