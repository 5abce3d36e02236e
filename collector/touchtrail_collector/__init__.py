"""The collector: receives touchpoint events, keeps them, and shows the journeys they make."""
