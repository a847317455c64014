"""Storages: formats in which streams of numbers lie in memory."""
