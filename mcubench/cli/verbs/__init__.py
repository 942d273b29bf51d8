"""The verbs that are no step of Lightning's: a file each, which parses, calls and prints."""
