"""What the coordinator wrote down of its runs, for who watches: read alone, and no key opened."""
