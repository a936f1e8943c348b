"""Endpoints that are known elsewhere."""
