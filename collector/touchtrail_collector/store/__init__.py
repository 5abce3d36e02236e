"""Storage engines; the contracts they fulfil stand in `engine`."""
