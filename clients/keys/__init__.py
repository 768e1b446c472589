"""A member's keys and certificates: made, asked for, signed, replaced, revoked."""
