"""What opens a party's updates to an auditor, later."""
