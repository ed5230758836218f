"""What can be done to a node: operations in pyinfra's grammar, twins by name of the facts."""
