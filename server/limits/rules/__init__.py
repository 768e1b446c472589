"""The files of rules, and what is read from them."""
