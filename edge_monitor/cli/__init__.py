"""The commands: one thin file each, imported only when called."""
