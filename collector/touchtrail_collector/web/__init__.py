"""HTTP: Starlette routes over the services."""
