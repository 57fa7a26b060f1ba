"""The text with which an instance starts: the callback URL, the heartbeat loop, the worker.

Pure: nothing here talks to an instance. Begin with `script`.
"""
