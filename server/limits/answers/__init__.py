"""What customers are told, and what they may try."""
