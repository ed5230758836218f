"""What a node is: facts in pyinfra's grammar, shared by all layers."""
