"""An HTTP server for tests: what it answers, how late and how badly is chosen by each request's path and query.

Standard library only, Linux only; it never imports gevent, so that it can share a machine with what it tests.
"""
