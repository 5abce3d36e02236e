"""Web frameworks: a middleware finds out who is being served and sets the context; the shop only tracks.

| framework | module |
|---|---|
| Starlette, FastAPI, Litestar, any other ASGI | `touchtrail.integrations.asgi` |
| any WSGI | `touchtrail.integrations.wsgi` |
| Flask | `touchtrail.integrations.flask` |
| Django | `touchtrail.integrations.django` |
| Celery | `touchtrail.integrations.celery` |

What they all do alike (visitor ids, consent, landings, addresses) stands in `touchtrail.integrations.visit`; use its
`Visits` to write an integration for another framework. A framework is imported by its own module only.
"""
