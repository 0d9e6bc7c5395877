"""The log of what happened, in files: one writer, and readers that need nothing but the files."""
