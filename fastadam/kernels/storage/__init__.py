"""Storages: formats of streams of numbers in memory."""
