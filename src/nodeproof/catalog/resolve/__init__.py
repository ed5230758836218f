"""From what is asked, what a machine is, and what exists: a choice with reasons, or a refusal."""
