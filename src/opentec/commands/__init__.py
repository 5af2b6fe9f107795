"""The commands: one file each, thin. They parse options, call the library and print."""
