"""Pure rules of the domain: no files, no network, no clock."""
