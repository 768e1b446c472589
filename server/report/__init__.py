"""`confide report`: what a training came to, as one file that needs nothing beside it.

Out of a verified release, what the coordinator wrote down of its run, and the charts of the pages.
"""
