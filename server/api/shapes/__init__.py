"""What the service is asked and what it answers, as pydantic models; OpenAPI is made from them.

A request is strict: no unknown field, no number that is a text, no amount that is no whole number
of minor units. An answer is built from the values of `server.accounts` by a class method `of`, so
that what the document promises is what is sent.
"""
