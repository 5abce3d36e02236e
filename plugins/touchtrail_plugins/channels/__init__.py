"""Channel rules."""
