"""The lines of `tunnel-client doctor`: small checks in a table, and what is judged of them."""
