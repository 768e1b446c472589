"""The sentences of both languages, and how reasons become them."""
