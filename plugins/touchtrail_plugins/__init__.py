"""The plugins that come with touchtrail, registered like anybody's."""
