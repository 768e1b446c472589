"""People to sign in as, for whoever tries the pages: their lives so far, and their secrets.

Only the demo has them. They borrow on the scores of a simulated world; what they did in the months
before is written into the store by the functions that the API calls, at the instants it is told as.
"""
