"""Pages for people, rendered here: what the API tells, readable without it.

A page calls the functions that the API's routes call and shows what they return. It decides
nothing, and it works with scripts off.
"""
