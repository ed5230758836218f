"""Results kept, and shown to people and machines; nothing here touches a node."""
