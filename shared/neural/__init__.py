"""The neural challenger: a small network for holders of the same features and other customers.

`inputs`, `layout` and `average` know no torch, so the coordinator needs none; `net` and `train`
are the only modules of the product that import it.
"""
