"""The meeting point: jobs, sync and server talk to one another only through what is written here.

One repository module per aggregate; every function opens its own short transaction.
"""
