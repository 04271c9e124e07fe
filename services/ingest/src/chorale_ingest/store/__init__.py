"""Rows and objects: everything of this service that outlives a process."""
