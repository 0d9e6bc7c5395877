"""Pages for people: templates, styles, and the headers they leave with."""
