"""What the relay writes down."""
