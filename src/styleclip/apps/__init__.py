"""The only room that prints, parses arguments and picks a device."""
