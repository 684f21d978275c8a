"""The commands, by what people use them for."""
