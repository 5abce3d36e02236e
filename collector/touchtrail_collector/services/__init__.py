"""Use cases as functions and small classes: ingest, derive, replay, report, export."""
