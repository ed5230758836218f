"""Judges that others wrote: OpenSCAP, Lynis and ssh-audit, before and after an apply."""
