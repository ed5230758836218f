"""The audit trail: what is recorded, how long it is kept, and how tampering is noticed."""
