"""What all parties must agree on; no socket, file or clock."""
