"""Podcasts for touchtrail: three plugins in one package."""
