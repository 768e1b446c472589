"""The phases of several banks that hold the same features of other customers."""
