"""The commands `audit ...`, the same in both programs: they read files and change no log."""
