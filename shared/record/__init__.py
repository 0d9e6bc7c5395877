"""What a record of a log is, how it is spelled, chained, signed and verified; pure."""
