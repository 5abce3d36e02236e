"""Attribution models, one module each."""
