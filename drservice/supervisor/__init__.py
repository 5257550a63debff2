"""Run the whole service on one machine: the servers, web, worker and beat, begun and ended as one.

It stands above all apps: its commands may know every part, and no part knows it.
"""
