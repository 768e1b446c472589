"""The relay: a mailbox without memory that members of a federation dial."""
